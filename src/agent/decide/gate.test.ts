import assert from "node:assert/strict";
import { test } from "node:test";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { listImages } from "../desired/listed-images.ts";
import { decideGate } from "./gate.ts";

const minute = 60_000;
const web = "docker.io/library/web:1";

function judge(
  spec: Partial<Parameters<typeof imageSet>[1]>[],
  warm: readonly string[],
  nowMs: number,
  awaited: string[] = [],
) {
  const { sets } = listImages(
    spec.map((each, index) => imageSet(`set-${index}`, { images: [{ ref: "web:1" }], ...each })),
    {},
  );
  return decideGate({ sets, isWarm: (name) => warm.includes(name), awaited, startedAtMs: 0, nowMs });
}

test("workloads wait for gated images, and only for those", () => {
  assert.equal(judge([{}], [], 0).isReady, false);
  assert.match(judge([{}], [], 0).reason, /1 image of set set-0, such as docker\.io\/library\/web:1/);
  assert.equal(judge([{}], [web], 0).isReady, true);
  assert.equal(judge([{ images: [{ ref: "web:1", gate: false }] }], [], 0).isReady, true);
});

test("when the time of a set is up it opens or stays closed, as it says", () => {
  const open = judge([{ gateTimeout: "2m" }], [], minute);
  assert.deepEqual([open.isReady, open.nextAtMs], [false, 2 * minute]);
  assert.equal(judge([{ gateTimeout: "2m" }], [], 2 * minute).isReady, true);
  assert.equal(judge([{ gateTimeout: "2m", onTimeout: "Closed" }], [], 100 * minute).isReady, false);
});

test("each set has its own time: one that stays closed holds all", () => {
  const sets = [{ gateTimeout: "1m" }, { gateTimeout: "1m", onTimeout: "Closed" as const }];
  assert.equal(judge(sets, [], 5 * minute).isReady, false);
});

test("disks that are about to be injected are waited for, ten minutes at most", () => {
  assert.equal(judge([], [], minute, ["disk a"]).isReady, false);
  assert.equal(judge([], [], 10 * minute, ["disk a"]).isReady, true);
});
