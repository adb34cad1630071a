import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { snapshotOf } from "./apt.ts";
import { downloadFromFirst } from "./fetch-parts.ts";

const skip = existsSync("/usr/lib/apt/apt-helper") ? false : "there is no apt-helper: not a Debian machine";
const content = Buffer.from("a package\n");
const pin = {
  path: "pool/main/g/glibc/libc6_2.36-9+deb12u1_amd64.deb",
  sizeBytes: content.length,
  sha256: createHash("sha256").update(content).digest("hex"),
};

const scope = new AsyncDisposableStack();
const asked: string[] = [];
let server: string;
let to: string;

before(async () => {
  const http = createServer(({ url = "" }, response) => {
    asked.push(decodeURIComponent(url));
    if (url.startsWith("/old/")) response.end(content);
    else if (url.startsWith("/liar/")) response.end("b package\n");
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  scope.defer(() => new Promise<void>((resolve) => http.close(() => resolve())));
  server = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  to = join(await temporaryDirectory(scope, "fetch"), "file");
});
after(() => scope.disposeAsync());

test("a package that has gone from the mirror comes from the next archive", { skip }, async () => {
  await downloadFromFirst([`${server}/mirror`, `${server}/old`], pin, to);
  assert.deepEqual(await readFile(to), content);
  assert.deepEqual(new Set(asked), new Set([`/mirror/${pin.path}`, `/old/${pin.path}`]));
});

test("other bytes than those that are pinned are refused, wherever they come from", { skip }, async () => {
  await assert.rejects(
    downloadFromFirst([`${server}/mirror`, `${server}/liar`], pin, to),
    /no archive has pool\/main\/g\/glibc\/libc6_2\.36-9\+deb12u1_amd64\.deb as it is pinned:\n[\s\S]*404[\s\S]*Hash Sum mismatch/,
  );
});

test("the last archive is the one that keeps all versions", () => {
  assert.equal(
    snapshotOf("debian-security", "20260102T030405Z"),
    "https://snapshot.debian.org/archive/debian-security/20260102T030405Z",
  );
});
