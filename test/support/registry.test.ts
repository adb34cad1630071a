import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeImage, makeIndex, pushToRegistry, tagInLayout } from "./image-maker.ts";
import { basicUser, startRegistry } from "./registry.ts";

test("an image made from bytes and files reaches a registry that asks for a password", async (context) => {
  const directory = await mkdtemp(join(tmpdir(), "nodewarm-maker-"));
  const registry = await startRegistry({ basicAuth: true });
  context.after(async () => {
    await registry.stop();
    await rm(directory, { recursive: true });
  });
  const file = join(directory, "layer.tar");
  await writeFile(file, Buffer.alloc(3 << 20, 7));
  const layout = join(directory, "layout");
  const image = await makeImage(layout, {
    layers: [
      { tar: Buffer.alloc(10240) },
      { tar: file, compression: "zstd" },
      { tar: Buffer.alloc(1024), compression: "none" },
    ],
    created: "2024-01-02T03:04:05Z",
  });
  const index = await makeIndex(layout, [image.manifest]);
  await tagInLayout(layout, index, "one");
  const secret = Buffer.from(`${basicUser.username}:${basicUser.password}`).toString("base64");
  const authorization = `Basic ${secret}`;
  await pushToRegistry(layout, index, { origin: registry.origin, repository: "a/b", tag: "one", authorization });
  registry.resetCounts();

  const answer = await fetch(`${registry.origin}/v2/a/b/blobs/${image.layers[1]?.descriptor.digest}`, {
    headers: { authorization },
  });
  await answer.arrayBuffer();
  assert.equal(answer.status, 200);
  assert.equal(registry.sentBytes(/blobs/), image.layers[1]?.descriptor.size);
  assert.equal(image.layers[1]?.tarBytes, 3 << 20);
  assert.equal((await fetch(`${registry.origin}/v2/a/b/tags/list`)).status, 401);
});
