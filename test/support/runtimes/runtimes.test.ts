import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { waitUntil } from "../processes.ts";
import { mountsBelow, processesOf } from "./clear-away.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";
import { connectCri, runPod, runPodToEnd } from "./cri-pod.ts";
import { containerdRuntimes } from "./fleet.ts";
import { findNewRunc } from "./programs.ts";
import { pauseImageName, probeImageName } from "./runtime-images.ts";

/** Every runtime of the tests starts, runs a container, starts again and leaves nothing, whatever happens to the test. */

const runtimes = await containerdRuntimes();
const newRuncMissing = (await findNewRunc()) === undefined ? "needs runc 1.2" : undefined;

for (const runtime of runtimes) {
  test(`${runtime.name} runs a container, keeps it over a restart and leaves nothing`, {
    skip: runtime.reason ?? false,
  }, async () => {
    let daemon: ContainerdDaemon;
    {
      await using scope = new AsyncDisposableStack();
      daemon = await runtime.start(scope);
      await daemon.importRuntimeImages();
      const container = { namespace: "k8s.io", image: probeImageName };
      assert.equal(await daemon.run(container), "hello from the probe\n");
      const sleeper = await daemon.runDetached({ ...container, command: ["/bin/sleep", "1000"] });
      await daemon.kill();
      assert.equal(daemon.pid, undefined);
      await daemon.start();
      assert.match(await daemon.ctr("-n", "k8s.io", "tasks", "ls"), new RegExp(`${sleeper} +\\d+ +RUNNING`));
      await daemon.restart();
      const command = ["sh", "-c", "echo written > /new; cat /new"];
      assert.equal(await daemon.run({ ...container, command }), "written\n");
    }
    await assertGone(daemon.directory);
  });
}

for (const runtime of runtimes) {
  test(`${runtime.name} runs pods over CRI`, { skip: runtime.reason ?? false }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope);
    await daemon.importRuntimeImages();
    const cri = connectCri(scope, daemon);
    assert.equal(await runPodToEnd(daemon, cri, { image: probeImageName }), "hello from the probe\n");
    await writeFile(join(daemon.directory, "note"), "from the host");
    const mounts = [{ hostPath: join(daemon.directory, "note"), containerPath: "/note" }];
    const command = ["/bin/sleep", "1000"];
    const pod = await runPod(daemon, cri, { image: probeImageName, command, mounts });
    await daemon.kill();
    await daemon.start();
    assert.equal(await pod.exec("cat", "/note"), "from the host");
    assert.equal((await cri.images.status(pauseImageName))?.repoTags[0], pauseImageName);
    await pod.remove();
  });

  // Before 2.0, containerd copies the whole image for a user namespace.
  if (runtime.version.startsWith("1.")) continue;
  test(`${runtime.name} runs a pod in a user namespace`, {
    skip: runtime.reason ?? newRuncMissing ?? false,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope);
    await daemon.importRuntimeImages();
    const cri = connectCri(scope, daemon);
    const command = ["/bin/sh", "-c", "cat /proc/self/uid_map; stat -c %u /greeting"];
    const userNamespace = { firstID: 100_000, length: 65_536 };
    const output = await runPodToEnd(daemon, cri, { image: probeImageName, command, userNamespace });
    assert.match(output, /^ +0 +100000 +65536\n0\n$/);
  });
}

test("a runtime is gone too when the process that started it is killed", {
  skip: runtimes[0]?.reason ?? false,
}, async () => {
  const script = join(import.meta.dirname, "start-and-wait.ts");
  const child = spawn(process.execPath, [script, runtimes[0]?.version ?? ""], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  const directory = String(line);
  assert.ok((await processesOf(directory)).length >= 3, "daemon, shim and container run");
  assert.ok((await mountsBelow(directory)).length > 0);
  child.kill("SIGKILL");
  await waitUntil(`${directory} is gone`, async () => !existsSync(directory));
  await assertGone(directory);
});

async function assertGone(directory: string): Promise<void> {
  assert.deepEqual(await processesOf(directory), []);
  assert.deepEqual(await mountsBelow(directory), []);
  assert.ok(!existsSync(directory), `${directory} stays`);
}
