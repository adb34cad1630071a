import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Finding } from "../../src/runtime/doctor/finding.ts";
import type { DoctorReport } from "../../src/runtime/doctor/run-doctor.ts";
import { NodeCli, outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { pauseImageName } from "../support/runtimes/runtime-images.ts";

type Report = DoctorReport & { readonly ok: boolean };

async function examine(cli: NodeCli): Promise<{ code: number | null; report: Report; found: Map<string, Finding> }> {
  const { code, stdout, stderr } = await cli.run("doctor", "--json");
  assert.equal(stderr, "");
  const report = JSON.parse(stdout) as Report;
  const findings = [...report.machine, ...report.runtimes.flatMap((each) => each.findings)];
  return { code, report, found: new Map(findings.map((finding) => [finding.name, finding])) };
}

const runtimes = await outermostRuntimes();

for (const runtime of runtimes) {
  describe(`nodewarm doctor, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    test("finds a node fit, tells what it lacks, and leaves nothing behind", async () => {
      await using scope = new AsyncDisposableStack();
      const cli = await NodeCli.start(scope, runtime);
      const before = await cli.daemon.ctr("-n", "k8s.io", "snapshots", "ls");
      const { code, report, found } = await examine(cli);
      assert.equal(await cli.daemon.ctr("-n", "k8s.io", "snapshots", "ls"), before);
      assert.equal(code, 0);
      assert.equal(report.ok, true);
      for (const name of ["kernel", "EROFS", "overlayfs", "file system", "paths", "snapshotter", "content sharing"])
        assert.equal(found.get(name)?.result, "ok", name);
      const isOld = runtime.version.startsWith("1.6");
      assert.equal(found.get("version")?.result, isOld ? "warning" : "ok");
      assert.equal(found.get("user namespaces")?.result, "ok");
      // 2.x does not say what its pause image is, but the configuration does.
      assert.match(found.get("pause image")?.message ?? "", new RegExp(`${pauseImageName} is not on the node`));
      await cli.daemon.importRuntimeImages();
      assert.equal((await examine(cli)).found.get("pause image")?.result, "ok");
      const { stdout } = await cli.succeed("doctor");
      assert.match(stdout, /^this machine\n {2}ok +kernel +Linux /);
      assert.match(stdout, /^This node can be injected: \d+ warnings?\.$/m);
    });

    test("warns of content that is not shared", async () => {
      await using scope = new AsyncDisposableStack();
      const cli = await NodeCli.start(scope, runtime, { contentSharingPolicy: "isolated" });
      const { code, found } = await examine(cli);
      assert.equal(code, 0);
      assert.equal(found.get("content sharing")?.result, "warning");
    });

    test("says that the snapshotter native cannot be injected, and how to change it; inject refuses", async () => {
      await using scope = new AsyncDisposableStack();
      const cli = await NodeCli.start(scope, runtime, { snapshotter: "native" });
      const { code, report, found } = await examine(cli);
      assert.equal(code, 1);
      assert.equal(report.ok, false);
      // 1.6 does not even say where that keeps its files.
      const finding = found.get("snapshotter") ?? found.get("runtime");
      assert.equal(finding?.result, "failure");
      assert.match(`${finding?.message}`, /"native"/);
      const injected = await cli.run("inject", cli.disk.path);
      assert.equal(injected.code, 1);
      assert.match(injected.stderr, /"native"/);
    });

    test("calls a runtime that is not there a failure", async () => {
      await using scope = new AsyncDisposableStack();
      const cli = await NodeCli.start(scope, runtime);
      await cli.daemon.stop();
      const { code, found } = await examine(cli);
      assert.equal(code, 1);
      assert.match(found.get("runtime")?.message ?? "", /Nobody listens on|There is no socket/);
    });
  });
}

const newest = runtimes.at(-1);
test("doctor prints the lines that containerd's EROFS snapshotter needs", {
  skip: newest?.reason ?? (newest?.version.startsWith("2.4") ? false : "needs containerd 2.4"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  if (newest === undefined) return;
  const cli = await NodeCli.start(scope, newest, { snapshotter: "erofs" });
  const before = await examine(cli);
  assert.equal(before.code, 1);
  const wayOut = before.found.get("snapshotter")?.wayOut ?? "";
  const folder = `${cli.daemon.root}/io.containerd.snapshotter.v1.erofs/nodewarm`;
  assert.ok(wayOut.split("\n").includes(`layer_content_caches = ["${folder}"]`), wayOut);
  assert.doesNotMatch(wayOut, /unpack_config/);
  const file = join(cli.daemon.directory, "config.toml");
  const table = /^\[plugins\."?'?io\.containerd\.snapshotter\.v1\.erofs'?"?\]$/m;
  const text = await readFile(file, "utf8");
  assert.match(text, table);
  await writeFile(
    file,
    text.replace(table, (line) => `${line}\nlayer_content_caches = ["${folder}"]`),
  );
  await cli.daemon.restart();
  const { code, found } = await examine(cli);
  assert.equal(found.get("snapshotter")?.result, "ok");
  assert.equal(code, 0);
});
