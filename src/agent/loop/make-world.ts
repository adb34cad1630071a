import type { Configuration } from "../config/configuration.ts";
import { isMissing } from "../decide/decide-resolve.ts";
import type { World } from "../decide/world.ts";
import { desiredImages } from "../desired/desired-images.ts";
import { listImages } from "../desired/listed-images.ts";
import { policyOf } from "../desired/policy.ts";
import { usableDisks } from "../desired/wanted-disks.ts";
import type { Sight } from "./look.ts";

export type WorldFacts = Pick<World, "record" | "memory" | "nowMs" | "running" | "unsettled"> & {
  readonly configuration: Configuration;
};

/** What is wished, seen and remembered, put together. */
export function makeWorld(sight: Sight, { configuration, ...facts }: WorldFacts): World {
  const policy = policyOf(configuration.agent);
  const { images: listed, sets } = listImages(configuration.sets, policy.labels);
  const { found, injected, observation } = sight;
  const usable = usableDisks({
    found,
    injected,
    contents: observation.contents,
    record: facts.record,
    inject: policy.inject,
  });
  const { images, contents } = observation;
  const { record, memory } = facts;
  const desired = desiredImages({
    listed,
    disks: usable,
    injected,
    images,
    tags: record.tags,
    told: memory.resolved,
    isWarm: (digest) => contents.get(digest)?.isWarm === true,
    isGiving: ({ id, isChecking }, digest) =>
      !isChecking && !memory.skipped.has(`${id} ${digest}`) && !memory.failures.has(`disk ${id}`),
    isStuck: (told, known) => memory.failures.has(`fetch ${told}`) || Object.hasOwn(record.evicted, known),
    isMissing: (digest) => isMissing(memory, digest),
  });
  return { ...sight, ...facts, policy, sets, usable, desired };
}
