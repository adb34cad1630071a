import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nodeLayout } from "../../src/publish/seed/node-layout.ts";
import { startImageRegistry } from "../support/runtimes/fetching.ts";
import { appName, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { boot, collectGarbage, document, runContainer, untilReady, untilWarm } from "./agent-node.ts";
import { addBigImage } from "./big-image.ts";
import { registryAddress, needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

const idleName = "example.com/idle/image:v1";
const fixtures = new AsyncDisposableStack();
/** Its lowest layer is one of the disk's. */
const fetchedName = `${registryAddress}/team/tool:v1`;
let drives: { readonly serial: string; readonly path: string }[];
let machine: Machine;

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  const images = await makeInjectionImages(fixtures);
  const disk = await makeInjectionDisk(fixtures, images, {
    line: "left",
    images: [
      [appName, images.app],
      [idleName, await addBigImage(images, 1)],
    ],
  });
  const { host: registry } = await startImageRegistry(fixtures, images.layout, { tool: images.tool.manifest });
  const configuration = [
    document("AgentConfig", "node", { registries: [{ prefix: registryAddress, plainHttp: true }] }),
    document("ImageSet", "fetched", { images: [{ ref: fetchedName }] }),
  ];
  const root = await makeNodeImage(fixtures, { disks: [disk.path], program, configuration, hasNetwork: true });
  drives = [{ serial: "root", path: root }];
  machine = await boot(fixtures, { drives, registry });
  await untilReady(machine);
  await untilWarm(machine, appName, idleName, fetchedName);
});
after(() => fixtures.disposeAsync());

async function assertNothingOfOurs(): Promise<void> {
  const { units, program, command, variable, runtime } = nodeLayout;
  const files = `find ${units} ${program} ${command} ${variable} ${runtime} -name '*nodewarm*' 2>/dev/null`;
  assert.equal((await machine.run(files)).output, "");
  assert.match((await machine.run("systemctl status nodewarm")).output, /could not be found/);
  assert.doesNotMatch(await machine.succeed("systemctl cat containerd"), /nodewarm/);
  assert.doesNotMatch(await machine.succeed("ctr -n k8s.io images ls; ctr -n k8s.io leases ls"), /nodewarm/);
}

async function assertRuns(): Promise<void> {
  assert.match(await machine.succeed("ctr -n k8s.io task ls"), /running +\d+ +RUNNING/);
}

async function assertStart(): Promise<void> {
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  assert.equal(await runContainer(machine, fetchedName), "tool 1\n");
}

test("uninstalling leaves containers running and reading, and nothing of ours on the node", { skip }, async () => {
  await machine.succeed(`ctr -n k8s.io run -d ${appName} running /bin/sleep 100000`);
  const output = await machine.succeed("nodewarm uninstall 2>&1");
  assert.match(output, /1 disk ejected/);
  for (const path of ["variable", "program", "command"] as const)
    assert.match(output, new RegExp(`^removed ${nodeLayout[path]}$`, "m"));

  await assertNothingOfOurs();
  assert.equal(await machine.succeed(`ls ${nodeLayout.configuration}`), "fetched.yaml\nnode.yaml\n");
  await assertRuns();
  await machine.succeed("echo 3 >/proc/sys/vm/drop_caches");
  const exec = "ctr -n k8s.io task exec --exec-id after running /bin/cat /data/variant /data/stays";
  assert.equal(await machine.succeed(exec), "variant 1\nstays\n");
});

test("the images that were in use or fetched are the node's own, that which nobody used is gone", {
  skip,
}, async () => {
  const names = (await machine.succeed("ctr -n k8s.io images ls -q")).split("\n");
  assert.ok(names.includes(appName) && names.includes(fetchedName), names.join());
  assert.ok(!names.includes(idleName), names.join());
  await assertStart();
});

test("the disk is let go by the machine when its last container ends", { skip }, async () => {
  await machine.succeed("ctr -n k8s.io task kill -s KILL running");
  await machine.eventually("ctr -n k8s.io task rm running");
  await machine.succeed("ctr -n k8s.io container rm running");
  await machine.eventually("! grep -q erofs /proc/self/mountinfo && ! ls -d /sys/block/loop*/loop");
});

test("containerd starts again without us, after a restart and a reboot, and its images are still whole", {
  skip,
}, async () => {
  await machine.succeed("systemctl restart containerd");
  await collectGarbage(machine, appName);
  await assertStart();
  await machine.shutDown();
  machine = await boot(fixtures, { drives });
  await assertNothingOfOurs();
  assert.match(await machine.succeed("systemctl show -p Result,ActiveState containerd"), /Result=success\n/);
  await assertStart();
  for (const name of [appName, fetchedName]) await machine.succeed(`ctr -n k8s.io images rm --sync ${name}`);
});
