import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import type { NodeFile } from "../../src/publish/seed/units.ts";
import { appName, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { boot, diskOf, document, runContainer, tryContainer, untilAgent, untilReady, untilWarm } from "./agent-node.ts";
import { needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

const fixtures = new AsyncDisposableStack();
const yankedName = appName;
const failingName = "example.com/other/tool:v1";
type Disk = { readonly path: string; readonly id: string };
let yanked: Disk;
let failing: Disk;
let machine: Machine;

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  const one = await makeInjectionImages(fixtures, "1");
  const two = await makeInjectionImages(fixtures, "2");
  yanked = await makeInjectionDisk(fixtures, one, { line: "yanked", images: [[yankedName, one.app]] });
  failing = await makeInjectionDisk(fixtures, two, { line: "failing", images: [[failingName, two.tool]] });
  const configuration = [agentConfig("1h")];
  const drives = [
    { serial: "root", path: await makeNodeImage(fixtures, { disks: [], program, configuration }) },
    { serial: "nodewarm-yanked", path: yanked.path, readOnly: true },
    { serial: "nodewarm-failing", path: failing.path, readOnly: true },
  ];
  machine = await boot(fixtures, { drives });
  // A device that is long in answering is none that the agent's being ready waits for.
  await untilReady(machine);
  await untilWarm(machine, yankedName, failingName);
});
after(() => fixtures.disposeAsync());

function agentConfig(grace: string): NodeFile {
  return document("AgentConfig", "node", {
    disks: { devices: ["virtio-nodewarm-*"], allow: ["yanked", "failing"], grace },
  });
}

/** Ends the grace time, until the records of an image are gone; the next disk has all of it again. */
async function letGraceEnd(name: string): Promise<void> {
  await configure(agentConfig("1s"));
  await machine.eventually(`! ctr -n k8s.io images ls -q | grep -x ${name}`);
  await configure(agentConfig("1h"));
}

async function configure({ path, text }: NodeFile): Promise<void> {
  await machine.succeed(`echo '${text}' >${path}.new && mv ${path}.new ${path}`);
}

async function startSleeper(image: string, name: string): Promise<void> {
  await machine.succeed(`ctr -n k8s.io run -d ${image} ${name} /bin/sleep 100000`);
}

/** What the kernel says of files on a device that does not answer: EIO, or EUCLEAN from EROFS. */
const deviceFailure = /input\/output error|structure needs cleaning/i;

async function assertRuns(name: string): Promise<void> {
  assert.match(await machine.succeed("ctr -n k8s.io task ls"), new RegExp(`${name} +\\d+ +RUNNING`));
}

test("images of devices that the configuration names and allows become warm", { skip }, async () => {
  assert.equal(await runContainer(machine, yankedName), "variant 1\n");
  assert.equal(await runContainer(machine, failingName), "tool 2\n");
});

test("starts fail while a device is pulled out, which shows; its records go after the grace time, and come with the device", {
  skip,
}, async () => {
  await startSleeper(yankedName, "sleeper");
  await machine.detach("nodewarm-yanked");
  // At first the device may still have its file and no bytes, and the reason says that it is empty or gone.
  await untilAgent(machine, "the disk is away", (status) => {
    const disk = diskOf(status, yanked.id);
    return disk?.phase === "Away" && / is no longer at \/dev\//.test(disk.reason);
  });
  await machine.succeed("echo 3 >/proc/sys/vm/drop_caches");
  const { code, output } = await tryContainer(machine, yankedName);
  assert.notEqual(code, 0, output);
  // Its record is still there: it is the missing files that keep it from starting.
  assert.match(output, deviceFailure);
  await letGraceEnd(yankedName);
  await assertRuns("sleeper");
  assert.equal(await runContainer(machine, failingName), "tool 2\n");
  await machine.attach("nodewarm-yanked");
  await untilWarm(machine, yankedName);
  assert.equal(await runContainer(machine, yankedName), "variant 1\n");
  await assertRuns("sleeper");
  const back = await untilAgent(machine, "all is well", (status) => diskOf(status, yanked.id)?.phase === "Injected");
  assert.deepEqual(diskOf(back, yanked.id)?.conditions, []);
});

test("a file that cannot be read fails the containers that read it, and no others", { skip }, async () => {
  await startSleeper(failingName, "reader");
  const offset = (await readFile(failing.path)).indexOf("tool 2\n");
  assert.ok(offset > 0);
  await machine.failReads("nodewarm-failing", [Math.floor(offset / 512)]);
  await machine.succeed("echo 3 >/proc/sys/vm/drop_caches");
  const { code, output } = await tryContainer(machine, failingName);
  assert.notEqual(code, 0);
  assert.match(output, /I\/O error|Input\/output error/);
  const away = await untilAgent(machine, "the agent sees it", (status) => diskOf(status, failing.id)?.phase === "Away");
  assert.match(diskOf(away, failing.id)?.reason ?? "", /is broken: .*cannot be read: EIO/);
  await letGraceEnd(failingName);
  await assertRuns("reader");
  const exec = "ctr -n k8s.io task exec --exec-id more reader /bin/echo still here";
  assert.equal(await machine.succeed(exec), "still here\n");
  assert.equal(await runContainer(machine, yankedName), "variant 1\n");
});

test("a device with unreadable bytes is refused when it is attached, with the reason, and taken once it can be read", {
  skip,
}, async () => {
  await machine.detach("nodewarm-failing");
  await machine.attach("nodewarm-failing");
  await untilAgent(machine, "the disk is broken", ({ disks }) =>
    disks.some(({ reason }) => /cannot be read: EIO/.test(reason)),
  );
  const { code } = await tryContainer(machine, failingName);
  assert.notEqual(code, 0);
  await machine.detach("nodewarm-failing");
  await machine.failReads("nodewarm-failing", []);
  await machine.attach("nodewarm-failing");
  await untilWarm(machine, failingName);
  assert.equal(await runContainer(machine, failingName), "tool 2\n");
});
