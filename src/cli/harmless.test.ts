import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import { harmless, harmlessColours, harmlessIo, oneLine } from "./harmless.ts";
import { describeInjection } from "./inject/inject-report.ts";
import { TerminalArea } from "./progress/terminal.ts";
import { renderTable } from "./table.ts";

const hostile = "a\u001b[2J\u0007\u009b31m\u202ebc\u{e0001}\r\nfake: ok";

test("no text holds a character that a terminal acts on", () => {
  assert.equal(harmless("é\tx\n"), "é\\u0009x\n");
  assert.equal(oneLine(hostile), "a\\u001b[2J\\u0007\\u009b31m\\u202ebc\\udb40\\udc01\\u000d\\u000afake: ok");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.doesNotMatch(harmless(text), /[^\P{C}\n\p{Cn}\p{Co}\p{Cs}]/u);
      assert.doesNotMatch(oneLine(text), /\n/);
    }),
  );
});

test("JSON stays what it was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(JSON.parse(harmless(JSON.stringify(value, undefined, 2))), JSON.parse(JSON.stringify(value)));
    }),
  );
  assert.equal(JSON.parse(harmless(JSON.stringify({ hostile }))).hostile, hostile);
});

test("what commands write as text is made harmless, bytes are not touched", async () => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const io = { stdin: Readable.from([]), stdout, stderr, env: {}, signal: new AbortController().signal };
  const wrapped = harmlessIo(io);
  assert.equal(wrapped.signal, io.signal);
  wrapped.stdout.write("\u001b[31m\n");
  wrapped.stdout.write(Buffer.from([0x1b, 0x9b]));
  wrapped.stderr.end("\u0007");
  stdout.end();
  assert.deepEqual(Buffer.concat(await stdout.toArray()), Buffer.from("\\u001b[31m\n\x1b\x9b", "latin1"));
  assert.equal(Buffer.concat(await stderr.toArray()).toString(), "\\u0007");
});

test("names from a disk forge neither lines nor columns", () => {
  assert.equal(renderTable([["\n", "x"]]), "\\u000a  x\n");
  const condition = { type: "TagKept", message: hostile };
  const image = {
    names: [hostile],
    digest: `sha256:${"1".repeat(64)}`,
    result: "injected",
    chain: "complete",
  } as const;
  const seconds = { usable: 1, chains: 1 };
  const report = {
    disk: "d",
    images: [{ ...image, conditions: [condition] }],
    conditions: [],
    calls: 1,
    transactions: 1,
    seconds,
  };
  const text = describeInjection("containerd", [{ path: "d.erofs", report }]);
  assert.equal(text.split("\n").filter((line) => line.startsWith("fake")).length, 0, text);
});

test("the lines of a progress display keep their colours and nothing else", async () => {
  assert.equal(harmlessColours("\u001b[36m━\u001b[0m\u001b[2J"), "\u001b[36m━\u001b[0m\\u001b[2J");
  const output = Object.assign(new PassThrough(), { columns: 80 });
  const io = harmlessIo({
    stdin: Readable.from([]),
    stdout: output,
    stderr: output,
    env: {},
    signal: AbortSignal.abort(),
  });
  const area = new TerminalArea(io.stderr);
  area.draw([hostile]);
  area.close();
  output.end();
  const drawn = Buffer.concat(await output.toArray()).toString();
  assert.ok(drawn.includes("\u001b[?25l") && drawn.includes("\u001b[?25h"), "the display's own sequences go through");
  assert.ok(!drawn.includes("\u001b[2J"));
});
