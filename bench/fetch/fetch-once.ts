import { readFileSync } from "node:fs";
import { openImageSource } from "../../src/oci/open-image.ts";
import { parsePlatform } from "../../src/oci/platform.ts";
import { openContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { fetchImage } from "../../src/runtime/containerd/fetch/fetch-image.ts";
import { syncFilesystem } from "../../src/runtime/host/sync-filesystem.ts";

// Fetches one image as the agent does, and prints what it took: `fetch-once.ts SOCKET NAMESPACE REPOSITORY TAG ROOT`.

const [address = "", namespace = "", repository = "", tag = "", root = ""] = process.argv.slice(2);
const { signal } = new AbortController();
const node = await openContainerdNode(address, namespace);
const started = performance.now();
const source = await openImageSource(`${repository}:${tag}`);
const image = await source.resolve(parsePlatform(`linux/${process.arch === "arm64" ? "arm64" : "amd64"}`), { signal });
await fetchImage(node, image, repository, { signal, admit: async () => {} });
const fetched = performance.now();
await syncFilesystem(root);
const seconds = (performance.now() - started) / 1000;
const io = readFileSync("/proc/self/io", "utf8");
process.stdout.write(
  JSON.stringify({
    seconds,
    syncSeconds: seconds - (fetched - started) / 1000,
    peakBytes: Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(io)?.[1]),
    cpuSeconds: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
  }),
);
await source.close();
await node.close();
