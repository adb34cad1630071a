import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { restingStatus, type Whole, wholeStatus } from "../../../test/support/agent/agent-status.ts";
import type { Condition, User } from "../../runtime/runtime.ts";
import { describeAgent } from "./describe-agent.ts";

test("an agent that has much to do and to complain of", () => {
  const [image] = wholeStatus.images;
  const users = ["ab".repeat(32), "b", "c", "d"].map((name) => ({ kind: "container", name }) as const);
  const more = { ...image, name: "docker.io/library/web:1", sets: [], heldBy: users, phase: "Warm" } as const;
  assert.equal(
    describeAgent({ ...wholeStatus, images: [image, { ...more, conditions: [] }] }),
    `runtime  containerd 2.4.2 (/run/containerd/containerd.sock, k8s.io)
gate     closed: waits for 1 image
IMAGE                          PHASE     SOURCE    DIGEST               FOR  AGE  RESOLVED  SETS         HELD BY
registry.example/team/tool:v1  Fetching  registry  sha256:7c9bbe5ec9b3  12s  5d   5m ago    tools, test  container 4f5c1b
web:1                          Warm      registry  sha256:7c9bbe5ec9b3  12s  5d   5m ago                 container abababababab, container b and 2 more
DISK                               PHASE     ID            LINE     HELD BY
/var/lib/nodewarm/disks/old.erofs  Replaced  26a3a5b70244  shop, 7  container 4f5c1b
registry.example/team/tool:v1: 2.00 MiB of 8.00 MiB
registry.example/team/tool:v1: new digest
registry.example/team/tool:v1: registry.example does not answer (tried again in 8s)
web:1: 2.00 MiB of 8.00 MiB
web:1: registry.example does not answer (tried again in 8s)
/var/lib/nodewarm/disks/old.erofs: a newer one is injected (25 %)
RuntimeUnavailable: it is down
Unsupported: spec.discover works in clusters only
KeepsDisappearing: something deleted or moved it 4 times within the hour
DiskMoved: it is somewhere else now
`,
  );
});

test("an agent that has nothing to do: what nothing is to be said of has no column", () => {
  assert.equal(
    describeAgent(restingStatus),
    `runtime  docker
gate     open: all gated images are warm
IMAGE  PHASE  SOURCE  DIGEST               FOR
web:1  Warm   disk    sha256:4b5e57f6eb2f  2h
DISK                                PHASE     ID            LINE
/var/lib/nodewarm/disks/shop.erofs  Injected  26a3a5b70244  shop, 7
`,
  );
});

test("an agent that knows of nothing yet", () => {
  assert.equal(
    describeAgent({ ...restingStatus, images: [], disks: [] }),
    `runtime  docker
gate     open: all gated images are warm
`,
  );
});

const wholeUser: Whole<User> = { kind: "container", name: "a" };
const wholeCondition: Whole<Condition> = { type: "Evicted", message: "given up" };

/** Names of all fields, as `images[].name`. */
function paths(value: unknown, at = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => paths(item, `${at}[]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = at === "" ? key : `${at}.${key}`;
    return [path, ...paths(inner, path)];
  });
}

test("docs/agent.md has every field of what status --json says of an agent, and no other", () => {
  const page = readFileSync(new URL("../../../docs/agent.md", import.meta.url), "utf8");
  const [, table = ""] = /\n\| field of `agent` \|.*\n\|---.*\n((?:\|.*\n)+)/.exec(page) ?? [];
  const documented = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, path]) => path);
  const isRepeated = (path: string) => /(?:heldBy|conditions)\[\]\./.test(path);
  const fields = ["version", "runtimes", ...paths([wholeStatus], "runtimes")];
  assert.deepEqual(documented, [
    ...fields.filter((path) => !isRepeated(path)),
    ...paths([wholeUser], "…heldBy"),
    ...paths([wholeCondition], "…conditions"),
  ]);
});
