import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { nodeLayout } from "../../src/publish/seed/node-layout.ts";
import { agentUnit, dropInPath, type NodeFile } from "../../src/publish/seed/units.ts";
import { appName, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { boot, diskOf, document, runContainer, tryContainer, untilAgent, untilReady, untilWarm } from "./agent-node.ts";
import { type Drive, needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

/**
 * A node as k3s sets it up, as far as disks are concerned: Debian's containerd in the unit and the folders that k3s has for its own. k3s itself is not
 * run: it would be the parent of that containerd, and has kubelet in it.
 */

const folder = "/var/lib/rancher/k3s/agent";
const socket = "/run/k3s/containerd/containerd.sock";
const snapshots = `${folder}/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots`;
const mountsBefore = "/run/mounts-before-containerd";

const files: readonly NodeFile[] = [
  {
    path: `${folder}/etc/containerd/config.toml`,
    text: `version = 2
root = "${folder}/containerd"
state = "/run/k3s/containerd"

[grpc]
  address = "${socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/containerd"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  disable_snapshot_annotations = true

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "${folder}/etc/containerd/certs.d"
`,
  },
  {
    path: `${nodeLayout.units}/k3s.service`,
    text: `[Service]
Type=notify
KillMode=process
Delegate=yes
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/bin/containerd --config ${folder}/etc/containerd/config.toml
`,
  },
  // Comes after that of `seed`, as the last that the unit does before it starts containerd.
  {
    path: `${nodeLayout.units}/k3s.service.d/20-look.conf`,
    text: `[Service]\nExecStartPre=/bin/cp /proc/self/mountinfo ${mountsBefore}\n`,
  },
  // For ctr alone.
  {
    path: `${nodeLayout.units}/test-shell.service.d/address.conf`,
    text: `[Service]\nEnvironment=CONTAINERD_ADDRESS=${socket}\n`,
  },
];

const absent = [
  "/usr/lib/systemd/system/containerd.service",
  "/etc/systemd/system/multi-user.target.wants/containerd.service",
  "/etc/containerd/config.toml",
];

const deviceName = "example.com/other/tool:v1";
const fixtures = new AsyncDisposableStack();
type Disk = { readonly path: string; readonly id: string };
let seeded: Disk;
let device: Disk;
let root: Drive;
let machine: Machine;

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  const one = await makeInjectionImages(fixtures, "1");
  const two = await makeInjectionImages(fixtures, "2");
  seeded = await makeInjectionDisk(fixtures, one, { line: "seeded", images: [[appName, one.app]] });
  device = await makeInjectionDisk(fixtures, two, { line: "device", images: [[deviceName, two.tool]] });
  const disks = { devices: ["virtio-nodewarm-*"], allow: ["device"] };
  const configuration = [document("AgentConfig", "node", { disks })];
  const node = { disks: [seeded.path], program, configuration, files, absent, enabled: ["k3s.service"] };
  root = { serial: "root", path: await makeNodeImage(fixtures, node) };
  machine = await boot(fixtures, {
    drives: [root, { serial: "nodewarm-cache", path: device.path, readOnly: true }],
  });
});
after(() => fixtures.disposeAsync());

async function show(unit: string, property: string): Promise<string> {
  return (await machine.succeed(`systemctl show -p ${property} --value ${unit}`)).trim();
}

/** Where the disk is mounted among the snapshots, by the text of a mount table. */
function carriersIn(mountinfo: string): readonly string[] {
  const lines = mountinfo.split("\n").filter((line) => line.includes(" - erofs "));
  return lines.map((line) => line.split(" ")[4] ?? "").filter((path) => path.startsWith(`${snapshots}/`));
}

test("the agent finds the containerd of a unit k3s.service by itself, and its containers start from disks", {
  skip,
}, async () => {
  assert.equal(await show("containerd", "LoadState"), "not-found");
  assert.match(await machine.succeed("systemctl cat k3s"), new RegExp(`^# ${dropInPath("k3s.service")}$`, "m"));
  await untilReady(machine);
  await untilWarm(machine, appName, deviceName);
  const { runtime } = await untilAgent(machine, "it has a runtime", () => true);
  assert.ok(runtime.includes(`(${socket}, k8s.io)`), runtime);
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  assert.equal(await runContainer(machine, deviceName), "tool 2\n");
  assert.equal(carriersIn(await machine.succeed("cat /proc/self/mountinfo")).length, 2);
});

test("after a reboot without the agent, its state and one device, the unit has waited for that, mounted the other disk, and started", {
  skip,
}, async (t) => {
  await machine.succeed(`systemctl disable --now ${agentUnit} && rm -rf ${nodeLayout.state}`);
  await machine.shutDown();
  machine = await boot(fixtures, { drives: [root] });
  await machine.eventually("systemctl is-active k3s");
  assert.equal(await show("k3s", "NRestarts"), "0");
  assert.equal(await show(agentUnit, "ActiveState"), "inactive");

  const mounted = carriersIn(await machine.succeed(`cat ${mountsBefore}`));
  assert.equal(mounted.length, 1, mounted.join());
  const pid = await show("k3s", "MainPID");
  assert.deepEqual(carriersIn(await machine.succeed(`cat /proc/${pid}/mountinfo`)), mounted);
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  assert.notEqual((await tryContainer(machine, deviceName)).code, 0);

  const journal = await machine.eventually(
    "journalctl --no-pager -b -u k3s >/run/journal; grep -q 'is not there' /run/journal && grep -q 'mounted from' /run/journal && cat /run/journal",
  );
  assert.match(journal, new RegExp(`waiting for disk ${device.id.slice(0, 12)}: there is no /dev/`));
  assert.match(journal, new RegExp(`disk ${device.id} is not there`));
  assert.match(journal, new RegExp(`${seeded.id.slice(0, 12)}: mounted from ${nodeLayout.disks}/disk\\.erofs`));
  await assertWaited(t);
});

/** By the machine's own clock. How much longer than ten seconds it may take depends on what else runs beside the emulator. */
async function assertWaited(t: TestContext): Promise<void> {
  const begun = Number(await show("k3s", "InactiveExitTimestampMonotonic"));
  const started = Number(await show("k3s", "ExecMainStartTimestampMonotonic"));
  const seconds = (started - begun) / 1e6;
  t.diagnostic(`containerd began ${seconds.toFixed(1)} s after its unit`);
  assert.ok(seconds >= 9, `${seconds} s`);
}

test("each start of the unit mounts again what was unmounted meanwhile", { skip }, async () => {
  const unmount = "findmnt -rn -t erofs -o TARGET | xargs -r umount && ! findmnt -rn -t erofs";
  await machine.eventually(unmount);
  assert.notEqual((await tryContainer(machine, appName)).code, 0);
  await machine.succeed("systemctl restart k3s");
  assert.equal(carriersIn(await machine.succeed("cat /proc/self/mountinfo")).length, 1);
  assert.equal(await runContainer(machine, appName), "variant 1\n");
});

test("an agent that comes later finds everything in its place, and says which disk is away", { skip }, async () => {
  await machine.succeed(`systemctl enable ${agentUnit} && systemctl start --no-block ${agentUnit}`);
  await untilWarm(machine, appName);
  const away = await untilAgent(machine, "the disk is away", (status) => diskOf(status, device.id)?.phase === "Away");
  assert.equal(diskOf(away, seeded.id)?.phase, "Injected");
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  await machine.shutDown();
});
