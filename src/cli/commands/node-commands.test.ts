import assert from "node:assert/strict";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { finish, main as mainFile, start } from "../../../test/support/cli.ts";
import { needs } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { main } from "../main.ts";

async function nodewarm(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const [out, err] = [stdout.toArray(), stderr.toArray()];
  const io = { stdin: new PassThrough(), stdout, stderr, env: {}, signal: new AbortController().signal };
  const code = await main(args, io);
  stdout.end();
  stderr.end();
  const text = (pieces: unknown[]) => Buffer.concat(pieces as Buffer[]).toString();
  return { code, stdout: text(await out), stderr: text(await err) };
}

const commands = ["agent", "inject", "eject", "mount", "seed", "status", "doctor"] as const;

describe("the commands for nodes", () => {
  for (const name of commands) {
    it(`${name} explains itself`, async () => {
      const { code, stdout, stderr } = await nodewarm(name, "--help");
      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(`^Usage: nodewarm ${name} `));
      assert.match(stdout, /\nExit codes: 0 /);
      for (const line of stdout.split("\n")) assert.ok(line.length <= 140, line);
    });
  }

  const wrong: readonly (readonly [string[], RegExp])[] = [
    [["inject"], /no disk/],
    [["eject"], /no disk/],
    [["mount"], /say --all/],
    [["mount", "--all", "disk"], /takes no disk/],
    [["mount", "--all", "--wait", "soon"], /--wait "soon"/],
    [["mount", "--all", "--snapshots", "x"], /give an absolute path/],
    [["status", "x"], /takes no arguments/],
    [["doctor", "x"], /takes no arguments/],
    [["status", "--runtime", "rkt"], /--runtime "rkt"/],
    [["stauts"], /did you mean "status"/],
  ];
  for (const [args, message] of wrong) {
    it(`refuse ${args.join(" ")}`, async () => {
      const { code, stdout, stderr } = await nodewarm(...args);
      assert.equal(code, 2);
      assert.equal(stdout, "");
      assert.match(stderr, message);
    });
  }

  it("tell an ordinary user that root is needed, before they look at anything", {
    skip: needs("setpriv"),
  }, async () => {
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, mainFile];
    const lines = [["inject", "/nowhere"], ["eject", "/nowhere"], ["mount", "--all"], ["status"], ["doctor"]];
    const results = await Promise.all(lines.map((args) => finish(start(args, { cwd: "/" }, nobody))));
    for (const [i, { code, stdout, stderr }] of results.entries()) {
      assert.equal(code, 1, stderr);
      assert.equal(stdout, "");
      assert.match(stderr, new RegExp(`^nodewarm: "nodewarm ${lines[i]?.[0]}" must run as root, .*sudo\n$`));
    }
  });

  it("name a socket where there is no runtime", { skip: needs() }, async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope);
    const { path } = await makeSmallDisk(scope);
    const address = join(folder, "none.sock");
    for (const args of [["inject", path], ["eject", "--all"], ["status"]]) {
      const { code, stdout, stderr } = await nodewarm(...args, "--address", address);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(stderr, /^nodewarm: There is no socket .*none\.sock: start containerd/);
    }
  });

  it("inject what is a disk, and images that are on it", { skip: needs() }, async () => {
    await using scope = new AsyncDisposableStack();
    const { path } = await makeSmallDisk(scope);
    const address = ["--address", "/nowhere/at/all"];
    const cases: readonly [string[], number, RegExp][] = [
      [["inject", mainFile], 1, /is not a cache disk/],
      [["inject", `${path}.none`], 1, /ENOENT/],
      [["inject", path, path], 2, /given twice/],
      [
        ["inject", path, "--image", "example.com/test/imag:0"],
        1,
        /on no disk given; did you mean example.com\/test\/image:0/,
      ],
    ];
    for (const [args, expected, message] of cases) {
      const { code, stderr } = await nodewarm(...args, ...address);
      assert.match(stderr, message);
      assert.equal(code, expected);
    }
  });
});
