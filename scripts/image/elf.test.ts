import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { readElf } from "./elf.ts";

test("Node needs a loader and the C libraries", () => {
  const { interpreter, libraries, machine } = readElf(readFileSync(process.execPath));
  assert.equal(machine, process.arch === "x64" ? 62 : 183);
  assert.match(interpreter ?? "", /^\/lib(64)?\/ld-linux/);
  for (const name of ["libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"]) assert.ok(libraries.includes(name), name);
});

test("a library has no loader", () => {
  // Types of Node know the report as a mere object.
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
  const path = sharedObjects.find((each) => /\/libstdc\+\+\.so/.test(each)) ?? "";
  const { interpreter, libraries } = readElf(readFileSync(path));
  assert.equal(interpreter, undefined);
  assert.ok(libraries.includes("libc.so.6"));
});

test("what is no ELF file, or a damaged one, is an error or gives less, and never hangs", () => {
  for (const text of ["", "#!/bin/sh\n", "\x7fELF\x01\x01"]) assert.throws(() => readElf(Buffer.from(text, "latin1")));
  const whole = readFileSync(readElf(readFileSync(process.execPath)).interpreter ?? "");
  fc.assert(
    fc.property(fc.nat(4095), fc.nat(255), fc.nat(whole.length), (at, byte, length) => {
      const damaged = Buffer.from(whole.subarray(0, Math.max(length, 4096)));
      damaged[at] = byte;
      try {
        readElf(damaged);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 200 },
  );
});
