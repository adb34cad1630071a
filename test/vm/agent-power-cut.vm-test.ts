import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../support/random.ts";
import { startImageRegistry } from "../support/runtimes/fetching.ts";
import { appName, makeInjectionDisk, makeInjectionImages, toolName } from "../support/runtimes/injection.ts";
import { boot, document, runContainer, tryContainer, untilWarm } from "./agent-node.ts";
import { addBigImage } from "./big-image.ts";
import { registryAddress, needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

const fixtures = new AsyncDisposableStack();
const fetchedName = `${registryAddress}/team/big:v1`;
const outputs = new Map([
  [appName, "variant 1\n"],
  [toolName, "tool 1\n"],
  [fetchedName, "big\n"],
]);
let image: string;
let registry: string;

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  const images = await makeInjectionImages(fixtures);
  const disk = await makeInjectionDisk(fixtures, images, { line: "cut", blobs: true });
  const big = await addBigImage(images, 12);
  ({ host: registry } = await startImageRegistry(fixtures, images.layout, { big: big.manifest }));
  const configuration = [
    document("AgentConfig", "node", {
      registries: [{ prefix: registryAddress, plainHttp: true }],
      limits: { bandwidth: "1M", highWater: 90, evictAbove: 95 },
    }),
    document("ImageSet", "fetched", { images: [{ ref: fetchedName, gate: false }] }),
  ];
  image = await makeNodeImage(fixtures, { disks: [disk.path], program, configuration, hasNetwork: true });
});
after(() => fixtures.disposeAsync());

function start(): Promise<Machine> {
  return boot(fixtures, { drives: [{ serial: "root", path: image, isUncached: true }], registry });
}

/** A name that the runtime knows starts the whole image, or nothing. */
async function assertNothingHalf(machine: Machine): Promise<void> {
  const names = (await machine.succeed("ctr -n k8s.io images ls -q")).split("\n");
  for (const [name, expected] of outputs) {
    if (!names.includes(name)) continue;
    const { code, output } = await tryContainer(machine, name);
    assert.ok(code !== 0 || output === expected, `${name} ran and said ${JSON.stringify(output)}`);
  }
}

test("power cuts while the agent injects and fetches leave nothing that starts half, and the node is warm after the next boot", {
  skip,
}, async (t) => {
  const seed = Number(process.env.NODEWARM_TEST_SEED ?? Date.now() % 1e9);
  t.diagnostic(`NODEWARM_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  // From the moment that the agent works on the first disk.
  const first = await start();
  await first.eventually("test -d /run/nodewarm/disks");
  await sleep(random(2000));
  await first.cutPower();
  // In the middle of a fetch, twice: the second one goes on with what the first one left.
  for (let round = 0; round < 2; round++) {
    const machine = await start();
    await assertNothingHalf(machine);
    await machine.eventually(
      `ls /var/lib/containerd/nodewarm-spool | grep -q . || ctr -n k8s.io images ls -q | grep -xF ${fetchedName}`,
    );
    await sleep(random(6000));
    await machine.cutPower();
  }
  const last = await start();
  await assertNothingHalf(last);
  await untilWarm(last, ...outputs.keys());
  for (const [name, expected] of outputs) assert.equal(await runContainer(last, name), expected);
  await last.shutDown();
});
