import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DiskDocuments } from "../../src/runtime/containerd/inject/disk-documents.ts";
import { planChains, recordNames, topChainID } from "../../src/runtime/containerd/inject/plan.ts";
import { emptyName } from "../../src/runtime/containerd/ownership.ts";
import { openDiskSource } from "../../src/runtime/host/disk-source.ts";
import { findProgram } from "../../test/support/privileges.ts";
import { run } from "../suite/command.ts";

/** Calls that the Go client has under way at once: as many as gain anything. */
const callsAtOnce = 8;
/** What `go-client/main.go` calls the parent of all. */
const goEmptyName = "bench-empty";

/** Builds the Go client into `folder`; its path, or why there is none. */
export async function buildGoClient(folder: string): Promise<{ program: string } | { reason: string }> {
  const go = findProgram("go");
  if (go === undefined) return { reason: "there is no Go to build it with" };
  const program = join(folder, "go-client");
  try {
    await mkdir(folder, { recursive: true });
    const env = { CGO_ENABLED: "0", GOFLAGS: "-trimpath" };
    await run(go, ["build", "-o", program, "."], { cwd: join(import.meta.dirname, "go-client"), env });
    return { program };
  } catch (error) {
    return { reason: `it cannot be built: ${error instanceof Error ? error.message : error}` };
  }
}

/** Writes the calls of an injection of a disk, which is mounted at `mountPoint`, into a file that the Go client reads. */
export async function writeGoPlan(
  path: string,
  where: { readonly disk: string; readonly mountPoint: string; readonly address: string; readonly namespace: string },
): Promise<void> {
  const { disk } = await openDiskSource(where.disk);
  try {
    const documents = new DiskDocuments(disk);
    const images = await Promise.all(
      disk.index.images.map(async (image) => ({
        Snapshot: { Name: topChainID(image), Tree: image.tree },
        Documents: (await documents.of(image)).map(({ kind, digest, bytes }) => ({
          Digest: digest,
          Bytes: Buffer.from(bytes).toString("base64"),
          Labels: { [`bench/${kind}`]: digest, "containerd.io/gc.root": "bench" },
        })),
        Names: recordNames(image, where.namespace),
        Target: { MediaType: image.target.mediaType, Digest: image.target.digest, Size: image.target.size },
      })),
    );
    const nothing = {
      snapshots: new Map(),
      owned: new Map(),
      unfinished: [],
      images: new Map(),
      copiedRecords: new Set<string>(),
      blobs: [],
    };
    const chains = planChains(disk.index.images, nothing).map((level) =>
      level.map(({ name, parent, tree }) => ({
        Name: name,
        Parent: parent === emptyName ? goEmptyName : parent,
        Tree: tree,
      })),
    );
    const { address, namespace, mountPoint } = where;
    const plan = { Address: address, Namespace: namespace, Disk: mountPoint, AtOnce: callsAtOnce };
    await writeFile(path, JSON.stringify({ ...plan, Images: images, Chains: chains }));
  } finally {
    await disk.close();
  }
}
