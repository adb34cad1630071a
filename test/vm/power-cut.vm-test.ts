import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../support/random.ts";
import { appName, makeInjectionDisk, makeInjectionImages, toolName } from "../support/runtimes/injection.ts";
import type { Scope } from "../support/temporary.ts";
import { boot } from "./agent-node.ts";
import { needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

const fixtures = new AsyncDisposableStack();
let program: string;
let disk: { readonly path: string; readonly id: string };

before(async () => {
  if (skip) return;
  program = await makeProgram(fixtures);
  disk = await makeInjectionDisk(fixtures, await makeInjectionImages(fixtures), { line: "power", blobs: true });
});
after(() => fixtures.disposeAsync());

const inject = "nodewarm inject /var/lib/nodewarm/disks/disk.erofs";
const outputs = new Map([
  [appName, "variant 1\n"],
  [toolName, "tool 1\n"],
]);

function bootFrom(scope: Scope, image: string): Promise<Machine> {
  return boot(scope, { drives: [{ serial: "root", path: image, isUncached: true }] });
}

let started = 0;

async function start(machine: Machine, name: string): Promise<string> {
  return machine.succeed(`ctr -n k8s.io run --rm ${name} test-${++started} 2>&1`);
}

/** No name that the runtime knows may start with less than the whole image. */
async function assertNothingHalf(machine: Machine): Promise<void> {
  const names = (await machine.succeed("ctr -n k8s.io images ls -q")).split("\n");
  for (const [name, output] of outputs) {
    if (!names.includes(name)) continue;
    const { code, output: said } = await machine.run(`ctr -n k8s.io run --rm ${name} test-${++started} 2>&1`);
    assert.ok(code !== 0 || said === output, `${name} ran and said ${JSON.stringify(said)}`);
  }
}

test("injected images start after a power cut and a reboot, with the disk mounted by containerd's own unit", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const image = await makeNodeImage(scope, { disks: [disk.path], program, isAgentEnabled: false });
  const before = await bootFrom(scope, image);
  await before.succeed(inject);
  await before.cutPower();
  const after = await bootFrom(scope, image);
  for (const [name, output] of outputs) assert.equal(await start(after, name), output);
  assert.match(await after.succeed("nodewarm status"), /mounted +yes/);
  await after.succeed("nodewarm eject --all");
  await after.shutDown();
});

test("a power cut in the middle of an injection leaves nothing that starts half, and the next one completes it", {
  skip,
}, async (t) => {
  await using scope = new AsyncDisposableStack();
  const image = await makeNodeImage(scope, { disks: [disk.path], program, isAgentEnabled: false });
  const seed = Number(process.env.NODEWARM_TEST_SEED ?? Date.now() % 1e9);
  t.diagnostic(`NODEWARM_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  for (let round = 0; round < 3; round++) {
    const machine = await bootFrom(scope, image);
    await assertNothingHalf(machine);
    await machine.run("nodewarm eject --all");
    const injecting = machine.run(`${inject} &`);
    await sleep(500 + random(4000));
    await injecting;
    await machine.cutPower();
  }
  const last = await bootFrom(scope, image);
  await assertNothingHalf(last);
  await last.succeed(inject);
  for (const [name, output] of outputs) assert.equal(await start(last, name), output);
  await last.shutDown();
});
