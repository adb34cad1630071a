import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { measureProgram } from "./measured-run.ts";

test("a run's time, memory and written files are those of the process and its children", async () => {
  const directory = await mkdtemp(join(tmpdir(), "nodewarm-bench-"));
  try {
    const child = `
      const { openSync, writeSync } = require("node:fs");
      const file = openSync(${JSON.stringify(join(directory, "scratch"))}, "w");
      const block = Buffer.alloc(64 << 20, 1);
      writeSync(file, block);
      const end = Date.now() + 600;
      while (Date.now() < end);
      console.log("done");`;
    const parent = `require("node:child_process").spawnSync(process.execPath, ["-e", ${JSON.stringify(child)}], { stdio: "inherit" })`;
    const usage = await measureProgram(process.execPath, ["-e", parent]);
    assert.equal(usage.stdout, "done\n");
    assert.ok(usage.wallSeconds > 0.6, `${usage.wallSeconds} s`);
    assert.ok(usage.cpuSeconds > 0.1 && usage.cpuSeconds < 10, `${usage.cpuSeconds} CPU s`);
    assert.ok(
      usage.peakMemoryBytes > 100 << 20,
      `${usage.peakMemoryBytes} bytes: less than the block and two processes`,
    );
    assert.equal(usage.scratchFiles, 1);
    assert.ok(
      usage.peakScratchBytes >= 64 << 20 && usage.peakScratchBytes < 66 << 20,
      `${usage.peakScratchBytes} bytes`,
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("a program that fails is reported with its words", async () => {
  const script = 'console.error("no such image"); process.exit(3)';
  await assert.rejects(measureProgram(process.execPath, ["-e", script]), /\(3\).*no such image/s);
});
