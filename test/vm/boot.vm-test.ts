import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nodeLayout } from "../../src/publish/seed/node-layout.ts";
import { appName, baseName, makeInjectionDisk, makeInjectionImages, toolName } from "../support/runtimes/injection.ts";
import {
  agentStatus,
  boot,
  diskOf,
  isWarm,
  runContainer,
  tryContainer,
  untilAgent,
  untilReady,
  untilWarm,
} from "./agent-node.ts";
import { needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeEmptyDrive, makeNodeImage, makeProgram } from "./node-image.ts";

const fixtures = new AsyncDisposableStack();
const names = [appName, toolName, baseName];
let drives: { readonly serial: string; readonly path: string }[];
let machine: Machine;
let disk: { readonly path: string; readonly id: string };

const units = "/etc/systemd/system";
const files = [
  // Late, and no part of local-fs.target.
  {
    path: `${units}/late.service`,
    text: "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=sleep 5\nRemainAfterExit=yes\n",
  },
  {
    path: `${units}/var-lib-containerd.mount`,
    text: `[Unit]
DefaultDependencies=no
Requires=late.service
After=late.service
Conflicts=umount.target
Before=umount.target

[Mount]
What=/dev/disk/by-id/virtio-data
Where=/var/lib/containerd
Type=ext4
`,
  },
  {
    path: `${units}/containerd.service.d/20-root.conf`,
    text: "[Unit]\nRequiresMountsFor=/var/lib/containerd\n",
  },
  // What orders it is the agent's unit alone.
  {
    path: `${units}/kubelet.service`,
    text: `[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'ctr -n k8s.io run --rm ${appName} first-pod >/run/first-pod 2>&1'
`,
  },
];

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  disk = await makeInjectionDisk(fixtures, await makeInjectionImages(fixtures), { line: "boot", blobs: true });
  const removed = [nodeLayout.state];
  const enabled = ["kubelet.service"];
  const root = await makeNodeImage(fixtures, { disks: [disk.path], program, files, enabled, removed });
  drives = [
    { serial: "root", path: root },
    { serial: "data", path: await makeEmptyDrive(fixtures, 512) },
  ];
  machine = await boot(fixtures, { drives });
});
after(() => fixtures.disposeAsync());

async function assertFirstPodStarted(): Promise<void> {
  await untilReady(machine);
  await machine.eventually("systemctl show kubelet -p SubState | grep -E 'exited|failed'");
  assert.equal(await machine.succeed("cat /run/first-pod"), "variant 1\n");
  assert.match(await machine.succeed("systemctl show -p Result kubelet"), /=success$/m);
  const readyMicroseconds = await timestamp("nodewarm", "ActiveEnterTimestampMonotonic");
  const podMicroseconds = await timestamp("kubelet", "ExecMainStartTimestampMonotonic");
  assert.ok(
    0 < readyMicroseconds && readyMicroseconds <= podMicroseconds,
    `kubelet began at ${podMicroseconds} µs, the agent was ready at ${readyMicroseconds} µs`,
  );
}

async function timestamp(unit: string, property: string): Promise<number> {
  return Number(await machine.succeed(`systemctl show -p ${property} --value ${unit}`));
}

test("a seeded node starts its first pod at the first try, with no network, no state, and containerd's root mounted late", {
  skip,
}, async () => {
  await assertFirstPodStarted();
  assert.match(await machine.succeed("findmnt -n -o SOURCE,FSTYPE /var/lib/containerd"), /^\/dev\/vdb +ext4/);
  assert.match(await machine.succeed("systemctl status nodewarm"), /Status: "3 of 3 images warm"/);
});

test("systemd finds nothing wrong with the units that seed installs", { skip }, async () => {
  const { output } = await machine.run(
    "systemd-analyze verify --man=no nodewarm.service containerd.service kubelet.service",
  );
  assert.equal(output, "");
});

test("an agent that is killed starts again, and restores what was deleted meanwhile", { skip }, async () => {
  const pid = await machine.succeed("systemctl show -p MainPID --value nodewarm");
  await machine.succeed("systemctl kill -s KILL nodewarm");
  await machine.succeed(`ctr -n k8s.io images rm --sync ${toolName}`);
  await machine.eventually(`test "$(systemctl show -p MainPID --value nodewarm)" != ${pid.trim()}`);
  await untilReady(machine);
  await untilWarm(machine, ...names);
  assert.equal(await runContainer(machine, toolName), "tool 1\n");
});

test("a containerd that is killed comes back with its images warm, and the agent stays", { skip }, async () => {
  const pid = await machine.succeed("systemctl show -p MainPID --value nodewarm");
  await machine.succeed("systemctl kill -s KILL --kill-who=main containerd");
  await machine.eventually("test $(systemctl show -p NRestarts --value containerd) -gt 0 && ctr version");
  await machine.succeed(`ctr -n k8s.io images rm --sync ${toolName}`);
  await untilWarm(machine, ...names);
  assert.equal(await runContainer(machine, toolName), "tool 1\n");
  assert.equal(await machine.succeed("systemctl show -p MainPID --value nodewarm"), pid);
});

test("neither the agent nor containerd stops with the other", { skip }, async () => {
  await machine.succeed("systemctl stop containerd");
  await machine.succeed("systemctl is-active nodewarm");
  await machine.succeed("systemctl start containerd");
  await machine.succeed("systemctl stop nodewarm");
  await machine.succeed("systemctl is-active containerd");
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  await machine.succeed("systemctl start nodewarm");
  await untilWarm(machine, ...names);
});

test("after a reboot with the state lost containerd mounts the disk before it starts, and the first pod starts again", {
  skip,
}, async () => {
  await machine.succeed(`systemctl stop nodewarm && rm -rf ${nodeLayout.state}`);
  await machine.shutDown();
  machine = await boot(fixtures, { drives });
  await assertFirstPodStarted();
  assert.match(await machine.succeed("journalctl --no-pager -u containerd"), /mounted from .*\/disk\.erofs/);
  const status = await agentStatus(machine);
  assert.ok(status !== undefined && isWarm(status, ...names), JSON.stringify(status));
});

test("a disk that is gone keeps neither containerd nor the agent from starting, and nothing starts from it", {
  skip,
}, async () => {
  await machine.succeed(`rm ${nodeLayout.disks}/*.erofs`);
  await machine.shutDown();
  machine = await boot(fixtures, { drives });
  await untilReady(machine);
  assert.match(await machine.succeed("systemctl show -p ActiveState containerd"), /=active$/m);
  assert.match(await machine.succeed("journalctl --no-pager -b -u containerd"), /is not there/);
  const { code, output } = await tryContainer(machine, appName);
  assert.notEqual(code, 0, output);
  const away = await untilAgent(machine, "the disk is away", (status) => diskOf(status, disk.id)?.phase === "Away");
  assert.match(diskOf(away, disk.id)?.reason ?? "", /no longer at/);
  await machine.shutDown();
});
