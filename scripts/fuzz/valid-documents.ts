import type { NodeRecord } from "../../src/agent/state/agent-state.ts";
import { writeStateDocument } from "../../src/agent/state/state-document.ts";
import { mediaTypes } from "../../test/support/image-maker.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as const;
const descriptor = (mediaType: string, digit: string) => ({ mediaType, digest: digest(digit), size: 1000 });
const platform = { os: "linux", architecture: "arm64", variant: "v8" };
const tree = `layers/${"2".repeat(64)}`;

const manifest = {
  schemaVersion: 2,
  mediaType: mediaTypes.ociManifest,
  config: descriptor(mediaTypes.ociConfig, "a"),
  layers: [
    { ...descriptor(`${mediaTypes.ociLayer}+gzip`, "b"), annotations: { "com.example.note": "n" } },
    { ...descriptor(`${mediaTypes.ociLayer}+zstd`, "c"), urls: ["https://example.com/layer"] },
  ],
  annotations: { "org.opencontainers.image.created": "2024-01-02T03:04:05Z" },
};

const index = {
  schemaVersion: 2,
  mediaType: mediaTypes.dockerIndex,
  manifests: [
    { ...descriptor(mediaTypes.dockerManifest, "d"), platform },
    {
      ...descriptor(mediaTypes.ociManifest, "e"),
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    },
  ],
};

const config = {
  created: "2024-01-02T03:04:05.678Z",
  ...platform,
  config: { Cmd: ["sh"], Env: ["A=b"], Labels: { a: "b" } },
  rootfs: { type: "layers", diff_ids: [digest("b"), digest("c")] },
  history: [{ created_by: "COPY", empty_layer: true }],
};

const diskIndex = {
  formatVersion: "1.0",
  id: "a".repeat(64),
  line: "base",
  sequence: 4,
  created: "2024-01-02T03:04:05Z",
  builder: "nodewarm/0.1.0",
  platform,
  blobs: true,
  erofsCache: false,
  images: [
    {
      names: ["docker.io/library/a:1"],
      target: descriptor(mediaTypes.ociIndex, "1"),
      manifest: descriptor(mediaTypes.ociManifest, "2"),
      config: descriptor(mediaTypes.ociConfig, "3"),
      platform,
      tree,
      layers: [
        {
          diffID: digest("2"),
          chainID: digest("2"),
          ...descriptor(mediaTypes.ociLayer, "4"),
          tree,
          impliedDirectories: [1, 5],
          whiteouts: "kept",
        },
      ],
    },
  ],
};

const auth = {
  auths: {
    "registry.example:5000": { auth: "dXNlcjpwYXNz" },
    "registry.example:5000/team": { username: "u", password: "p" },
    "https://index.docker.io/v1/": { identitytoken: "t" },
  },
  credHelpers: { "other.example": "helper" },
};

const hosts = `server = "https://registry.example:5000"

[host."https://mirror.example/v2/prefix"]
  capabilities = ["pull", "resolve"]
  override_path = true
  skip_verify = true
  [host."https://mirror.example/v2/prefix".header]
    x-token = ["one", "two"]

[host."http://127.0.0.1:5000"]
  capabilities = ["pull"]
`;

const imageSet = `apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata: { name: base }
spec:
  parallelism: 2
  images:
    - ref: docker.io/library/debian:12
    - ref: registry.example:5000/team/app@${digest("f")}
---
apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata:
  name: second
  labels: &labels { a: "b" }
  annotations: *labels
spec:
  images: []
`;

const agentConfig = `apiVersion: nodewarm.io/v1alpha1
kind: AgentConfig
metadata: { name: node }
spec:
  listen: 127.0.0.1:9470
---
apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata: { name: web }
spec: { images: [{ ref: "nginx:1.25" }] }
`;

const state: NodeRecord = {
  runtimes: {
    "containerd /run/containerd/containerd.sock k8s.io": {
      tags: { "docker.io/library/a:1": { digest: digest("1"), atSeconds: 1, disk: { line: "base", sequence: 4 } } },
      holds: ["a".repeat(64)],
      byHand: { ["b".repeat(64)]: { path: "/disks/b.erofs" } },
      evicted: { [digest("2")]: { atSeconds: 2 } },
    },
  },
  seenDisks: {
    ["c".repeat(64)]: [{ path: "/disks/c.erofs", device: "8:1", inode: "12", sizeBytes: 4096, ctimeNs: "1700000000" }],
  },
  seededDisks: { ["d".repeat(64)]: { path: "/disks/d.erofs", sizeBytes: 4096 } },
};

/** Kinds with one document each that is read as it is. */
export const validDocuments: readonly (readonly [kind: string, document: string])[] = [
  ["manifest", JSON.stringify(manifest)],
  ["index", JSON.stringify(index)],
  ["config", JSON.stringify(config)],
  ["diskindex", JSON.stringify(diskIndex)],
  ["auth", JSON.stringify(auth)],
  ["hosts", hosts],
  ["imageset", imageSet],
  ["agentconfig", agentConfig],
  ["state", writeStateDocument(state)],
];
