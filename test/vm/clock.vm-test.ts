import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ImageStatus } from "../../src/agent/status.ts";
import { startImageRegistry } from "../support/runtimes/fetching.ts";
import { appName, makeInjectionDisk, makeInjectionImages, toolName } from "../support/runtimes/injection.ts";
import {
  agentStatus,
  boot,
  collectGarbage,
  document,
  imageOf,
  runContainer,
  untilAgent,
  untilReady,
  untilWarm,
} from "./agent-node.ts";
import { addBigImage } from "./big-image.ts";
import { registryAddress, needsMachine as skip } from "./emulator.ts";
import type { Machine } from "./machine.ts";
import { makeNodeImage, makeProgram } from "./node-image.ts";

const fixtures = new AsyncDisposableStack();
const fetchedName = `${registryAddress}/team/big:v1`;
let machine: Machine;

/** systemd itself takes the day that it was built for the earliest: whoever sets the clock later may be as wrong as the machine. */
const clockUnit = {
  path: "/etc/systemd/system/wrong-clock.service",
  text: `[Unit]
DefaultDependencies=no
Before=basic.target containerd.service nodewarm.service

[Service]
Type=oneshot
ExecStart=date -s "1970-01-02"
`,
};

before(async () => {
  if (skip) return;
  const program = await makeProgram(fixtures);
  const images = await makeInjectionImages(fixtures);
  const disk = await makeInjectionDisk(fixtures, images, {
    line: "clock",
    images: [
      [appName, images.app],
      [toolName, images.tool],
    ],
  });
  const big = await addBigImage(images, 16);
  const { host } = await startImageRegistry(fixtures, images.layout, { big: big.manifest });
  const configuration = [
    document("AgentConfig", "node", {
      registries: [{ prefix: registryAddress, plainHttp: true }],
      limits: { bandwidth: "400k", highWater: 90, evictAbove: 95 },
    }),
    document("ImageSet", "fetched", { images: [{ ref: fetchedName, gate: false, refresh: { interval: "10s" } }] }),
  ];
  const enabled = [clockUnit.path.split("/").pop() ?? ""];
  const node = { disks: [disk.path], program, configuration, files: [clockUnit], enabled, hasNetwork: true };
  const drives = [{ serial: "root", path: await makeNodeImage(fixtures, node) }];
  machine = await boot(fixtures, { drives, rtc: "base=1970-01-01", registry: host });
});
after(() => fixtures.disposeAsync());

async function setClock(time: string): Promise<void> {
  await machine.succeed(`date -s "${time}"`);
}

test("a node that believes it is 1970 boots warm", { skip }, async () => {
  assert.equal(await machine.succeed("date +%Y"), "1970\n");
  await untilReady(machine);
  assert.equal(await runContainer(machine, appName), "variant 1\n");
});

test("a fetch goes on when the clock jumps by half a century, and loses nothing to a collection of garbage", {
  skip,
}, async () => {
  const isUnderWay = (image: ImageStatus | undefined) =>
    image?.phase === "Fetching" && (image.progress?.fetchedBytes ?? 0) > 0;
  await untilAgent(machine, "the fetch is under way", ({ images }) => isUnderWay(imageOf(images, fetchedName)));
  await setClock("2026-06-01 12:00:00");
  await collectGarbage(machine, appName);
  const during = await agentStatus(machine);
  const image = imageOf(during?.images ?? [], fetchedName);
  assert.ok(isUnderWay(image), `the fetch was over too soon: ${JSON.stringify(image)}`);
  await untilWarm(machine, appName, toolName, fetchedName);
  await collectGarbage(machine, appName);
  assert.equal(await runContainer(machine, fetchedName), "big\n");
});

test("images stay warm, and are restored, when the clock jumps back", { skip }, async () => {
  await setClock("1970-01-03");
  await collectGarbage(machine, appName);
  await machine.succeed(`ctr -n k8s.io images rm --sync ${toolName}`);
  await machine.succeed(`ctr -n k8s.io images rm --sync ${fetchedName}`);
  await untilWarm(machine, appName, toolName, fetchedName);
  await setClock("2026-06-02");
  await collectGarbage(machine, appName);
  assert.equal(await runContainer(machine, appName), "variant 1\n");
  assert.equal(await runContainer(machine, toolName), "tool 1\n");
  assert.equal(await runContainer(machine, fetchedName), "big\n");
  assert.match(await machine.succeed("systemctl show nodewarm -p NRestarts"), /=0$/m);
});
