import { parseArgs } from "node:util";
import { seededRandom } from "../test/support/random.ts";
import { documentTarget } from "./fuzz/documents.ts";
import { layerTarget } from "./fuzz/layers.ts";
import { keepSeed, keptSeeds } from "./fuzz/seeds.ts";
import type { FuzzTarget } from "./fuzz/target.ts";

// Changes valid input at random and reads it: `npm run fuzz -- [--seconds 60] [--seed N] [--target layer|document]`. Every run begins
// with the kept inputs; the same seed gives the same new ones. What fails is kept in test/corpus/seeds, for `npm test` to try again.

const { values } = parseArgs({
  options: { seconds: { type: "string" }, seed: { type: "string" }, target: { type: "string" } },
});
const targets = [layerTarget, documentTarget].filter(({ name }) => name === (values.target ?? name));
const seconds = numberFrom("seconds", values.seconds, 60);
const seed = numberFrom("seed", values.seed, Date.now() % 2 ** 31);
if (targets.length === 0) throw new Error(`--target ${values.target}: there are layer and document`);

function numberFrom(name: string, text: string | undefined, unset: number): number {
  const value = Number(text ?? unset);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} ${text}: a number is needed`);
  return value;
}

/** How many inputs failed. */
async function fuzz(target: FuzzTarget, untilMs: number): Promise<number> {
  let failures = 0;
  const kept = keptSeeds(target.name);
  for (const [name, input] of kept) {
    await target.check(input).catch((error) => {
      failures++;
      console.error(`${name} still fails:`, error);
    });
  }
  const random = seededRandom(seed);
  let inputs = 0;
  for (; performance.now() < untilMs; inputs++) {
    const input = target.make(random);
    await target.check(input).catch((error) => {
      failures++;
      console.error(`input ${inputs}, kept as ${keepSeed(target.name, input)}:`, error);
    });
  }
  console.log(`${target.name}: ${inputs} new inputs, ${kept.size} kept ones, ${failures} failures`);
  return failures;
}

console.log(`seed ${seed}, ${seconds} s`);
let failures = 0;
const startMs = performance.now();
for (const [index, target] of targets.entries()) {
  failures += await fuzz(target, startMs + (seconds * 1000 * (index + 1)) / targets.length);
}
process.exitCode = failures > 0 ? 1 : 0;
