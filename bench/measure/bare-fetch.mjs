// The least that a program in Node does with a small image: `bare-fetch.mjs HOST:PORT REPOSITORY TAG FILE` fetches manifest, config and layers from a
// registry without TLS, config and layers at once, compares the digests of these, writes the layers into FILE and syncs it. One thread does
// it all, so with large images a build may be faster.
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { Agent, get } from "node:http";

const [host, repository, tag, file] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const accept = "application/vnd.oci.image.manifest.v1+json";

function fetchFrom(path, onData) {
  return new Promise((resolve, reject) => {
    const request = get(`http://${host}/v2/${repository}/${path}`, { agent, headers: { accept } }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`${path}: ${answer.statusCode}`));
      answer.on("data", onData).on("end", resolve).on("error", reject);
    });
    request.on("error", reject);
  });
}

async function fetchBlob({ digest }, onData) {
  const hash = createHash("sha256");
  await fetchFrom(`blobs/${digest}`, (bytes) => {
    hash.update(bytes);
    onData?.(bytes);
  });
  if (`sha256:${hash.digest("hex")}` !== digest) throw new Error(`${digest} has other bytes`);
}

const parts = [];
await fetchFrom(`manifests/${tag}`, (bytes) => parts.push(bytes));
const { config, layers } = JSON.parse(Buffer.concat(parts).toString());
const output = openSync(file, "w");
const blobs = new Map(layers.map((layer) => [layer.digest, layer]));
await Promise.all([
  fetchBlob(config),
  ...[...blobs.values()].map((layer) => fetchBlob(layer, (bytes) => writeSync(output, bytes))),
]);
fsyncSync(output);
closeSync(output);
// Idle connections would keep it.
process.exit();
