import assert from "node:assert/strict";
import { test } from "node:test";
import { testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { record, testWorld } from "../../../test/support/agent/world.ts";
import { defaultAgentSpec } from "../config/agent-config.ts";
import { decide } from "../decide/decide.ts";
import { emptyMemory } from "../decide/memory.ts";
import { reportStatus } from "./report.ts";

const web = "docker.io/library/web:1";
const digest = testDigest("web");
const wallSeconds = 1_700_000_000;

/** What is said, a minute after the agent began, of one image that was warm ten seconds after that. */
function imageStatus(createdSeconds?: number, resolvedAtMs?: number) {
  const memory = emptyMemory(0);
  const resolved = new Map(
    resolvedAtMs === undefined ? [] : [[web, { ...{ digest, share: 1 }, atMs: resolvedAtMs }] as const],
  );
  const sets = [imageSet("a", { images: [{ ref: "web:1" }] })];
  const configuration = { sets, agent: defaultAgentSpec() };
  const seen = testWorld({
    configuration,
    images: [record(web, digest)],
    memory: { ...memory, resolved },
    nowMs: 60_000,
  });
  const content = {
    digest,
    isWarm: true,
    missing: "",
    users: [],
    ...(createdSeconds !== undefined && { createdSeconds }),
  };
  const world = { ...seen, observation: { ...seen.observation, contents: new Map([[digest, content]]) } };
  const { images } = reportStatus({
    runtime: "memory",
    world,
    decision: decide(world),
    gate: { isReady: true, reason: "" },
    conditions: [],
    progress: new Map(),
    phases: new Map([[web, { phase: "Warm", sinceMs: 10_000 }]]),
    nowMs: 60_000,
    wallSeconds,
  });
  const [{ phase, phaseSeconds, ageSeconds, resolvedSeconds } = assert.fail()] = images;
  return { phase, phaseSeconds, ageSeconds, resolvedSeconds };
}

test("an image has been warm, is old and was resolved for so long", () => {
  assert.deepEqual(imageStatus(wallSeconds - 86_400, 45_500), {
    phase: "Warm",
    phaseSeconds: 50,
    ageSeconds: 86_400,
    resolvedSeconds: 14.5,
  });
});

test("nothing is said of what nobody knows, nor of the age while the clock is behind", () => {
  const unknown = { phase: "Warm", phaseSeconds: 50, ageSeconds: undefined, resolvedSeconds: undefined };
  assert.deepEqual(imageStatus(), unknown);
  assert.deepEqual(imageStatus(wallSeconds + 1), unknown);
});
