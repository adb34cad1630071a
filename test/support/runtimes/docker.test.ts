import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { mountsBelow, processesOf } from "./clear-away.ts";
import type { DockerDaemon } from "./docker-daemon.ts";
import { dockerRuntimes } from "./docker-fleet.ts";
import { probeImageName } from "./runtime-images.ts";

/** Every Docker of the tests starts, runs a container, starts again and leaves nothing. */

for (const runtime of await dockerRuntimes()) {
  test(`${runtime.name} runs a container, keeps its images over a restart and leaves nothing`, {
    skip: runtime.reason ?? false,
  }, async () => {
    let daemon: DockerDaemon;
    {
      await using scope = new AsyncDisposableStack();
      daemon = await runtime.start(scope);
      await daemon.loadRuntimeImages();
      assert.equal(await daemon.run(probeImageName), "hello from the probe\n");
      const driver = (await daemon.docker("info", "--format", "{{.Driver}}")).trim();
      assert.equal(driver, runtime.store === "overlay2" ? "overlay2" : "overlayfs");
      await daemon.runDetached(probeImageName, "/bin/sleep", "1000");
      await daemon.kill();
      await daemon.start();
      assert.equal(await daemon.run(probeImageName, "sh", "-c", "echo written > /new; cat /new"), "written\n");
      await daemon.runDetached(probeImageName, "/bin/sleep", "1000");
    }
    const { directory } = daemon.containerd;
    assert.deepEqual(await processesOf(directory), []);
    assert.deepEqual(await mountsBelow(directory), []);
    assert.ok(!existsSync(directory), `${directory} stays`);
  });
}
