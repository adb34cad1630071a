import type { AgentStatus } from "../../../src/agent/status.ts";
import { diskIdentity, testDigest } from "./facts.ts";

/** The same with nothing left out. */
export type Whole<Value> = Value extends readonly (infer Item)[]
  ? readonly Whole<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]-?: Whole<Value[Key]> }
    : Value;

const disk = diskIdentity("shop", 7, {});
const container = { kind: "container", name: "4f5c1b" } as const;

/** All that an agent can say of itself: the type fails here when there is a field more. */
export const wholeStatus = {
  runtime: "containerd 2.4.2 (/run/containerd/containerd.sock, k8s.io)",
  gate: { isReady: false, reason: "waits for 1 image" },
  images: [
    {
      name: "registry.example/team/tool:v1",
      phase: "Fetching",
      phaseSeconds: 12.3,
      ageSeconds: 400_000,
      resolvedSeconds: 300,
      reason: "new digest",
      digest: testDigest("tool"),
      source: "registry",
      disk: disk.id,
      sets: ["tools", "test"],
      gate: true,
      priority: 5,
      progress: { fetchedBytes: 1 << 20, presentBytes: 1 << 20, unpackedBytes: 1 << 20, totalBytes: 8 << 20 },
      lastError: "registry.example does not answer",
      retryInSeconds: 8,
      disappearances: 4,
      heldBy: [container],
      conditions: [{ type: "KeepsDisappearing", message: "something deleted or moved it 4 times within the hour" }],
    },
  ],
  disks: [
    {
      path: "/var/lib/nodewarm/disks/old.erofs",
      phase: "Replaced",
      reason: "a newer one is injected",
      id: disk.id,
      line: disk.line,
      sequence: disk.sequence,
      checkedShare: 0.255,
      isSafeToDetach: false,
      heldBy: [container],
      conditions: [{ type: "DiskMoved", message: "it is somewhere else now" }],
    },
  ],
  sets: [
    {
      name: "tools",
      isSelected: true,
      images: 1,
      warm: 0,
      conditions: [{ type: "Unsupported", message: "spec.discover works in clusters only" }],
    },
  ],
  conditions: [{ type: "RuntimeUnavailable", message: "it is down" }],
} satisfies Whole<AgentStatus>;

/** What an agent says that has nothing to do. */
export const restingStatus: AgentStatus = {
  runtime: "docker",
  gate: { isReady: true, reason: "all gated images are warm" },
  images: [
    {
      name: "docker.io/library/web:1",
      phase: "Warm",
      phaseSeconds: 7300,
      reason: "",
      digest: testDigest("web"),
      source: "disk",
      disk: disk.id,
      sets: [],
      gate: false,
      priority: 0,
      disappearances: 0,
      heldBy: [],
      conditions: [],
    },
  ],
  disks: [
    {
      path: "/var/lib/nodewarm/disks/shop.erofs",
      phase: "Injected",
      reason: "",
      id: disk.id,
      line: disk.line,
      sequence: disk.sequence,
      isSafeToDetach: false,
      heldBy: [],
      conditions: [],
    },
  ],
  sets: [],
  conditions: [],
};
