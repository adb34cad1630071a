import assert from "node:assert/strict";
import { Readable, Writable } from "node:stream";
import { test } from "node:test";
import { main } from "./main.ts";

async function run(args: readonly string[], signal = new AbortController().signal) {
  const texts = { stdout: "", stderr: "" };
  const recorder = (name: "stdout" | "stderr") =>
    new Writable({
      write(chunk, _encoding, done) {
        texts[name] += chunk;
        done();
      },
    });
  const io = { stdin: Readable.from([]), stdout: recorder("stdout"), stderr: recorder("stderr"), env: {}, signal };
  return { code: await main(args, io), ...texts };
}

test("help goes to stdout when asked for, to stderr when nothing is said", async () => {
  for (const word of ["--help", "-h", "help"]) {
    const { code, stdout, stderr } = await run([word]);
    assert.deepEqual([code, stderr], [0, ""]);
    for (const command of ["build", "inspect", "ls", "cat", "verify"])
      assert.match(stdout, new RegExp(`^ {2}${command} `, "m"));
  }
  const { code, stdout, stderr } = await run([]);
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /^Usage: nodewarm COMMAND/);
});

test("unknown commands and options are wrong usage", async () => {
  assert.match((await run(["inspct"])).stderr, /unknown command "inspct"; did you mean "inspect"\?/);
  assert.match((await run(["--json"])).stderr, /unknown option "--json"/);
  for (const word of ["toString", "__proto__", "constructor", ""]) assert.equal((await run([word])).code, 2);
});

test("a failure is exit 1, wrong usage of a command is exit 2 and names its help", async () => {
  const failed = await run(["build", "oci:/nonexistent:x", "-o", "/tmp/never.erofs"]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /nodewarm: .*\/nonexistent/);
  const wrong = await run(["build", "--nothing"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /Run "nodewarm build --help" for usage\.\n$/);
});

test("control characters in messages do not reach the terminal", async () => {
  const { stderr } = await run(["build", "oci:/nonexistent\u001b[31m:x", "-o", "/tmp/never.erofs"]);
  assert.doesNotMatch(stderr, /\p{Cc}(?<!\n)/u);
});

test("an aborted run is exit 130, whatever it was that failed", async () => {
  const { code, stderr } = await run(["build", "oci:/nonexistent:x", "-o", "/tmp/never.erofs"], AbortSignal.abort());
  assert.equal(code, 130);
  assert.match(stderr, /nodewarm: interrupted\n$/);
});
