import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Digest, Platform } from "../../../oci/descriptor.ts";
import { hostPlatform } from "../../../oci/platform.ts";
import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import type {
  FetchOptions,
  FetchReport,
  ImageChange,
  ImageFolders,
  ImageKeeper,
  ImageObservation,
} from "../../image-keeper.ts";
import { type ContainerdNode, containerdName } from "../containerd-node.ts";
import { DocumentCache } from "./document-cache.ts";
import { releaseName, setName } from "./name-image.ts";
import type { NodeConnection } from "./node-connection.ts";
import { observeImages } from "./observe.ts";
import { watchChanges } from "./watch-changes.ts";

/** The images of one namespace of a containerd. */
export class ContainerdImageKeeper implements ImageKeeper {
  readonly platform: Platform;
  readonly #connection: NodeConnection;
  readonly #documents: DocumentCache;
  /** Of a snapshotter that is another program, as it was last found. */
  #otherSnapshots: string | undefined;

  /** Takes over `connection`: `close` closes it. */
  private constructor(connection: NodeConnection, platform: Platform) {
    this.#connection = connection;
    this.platform = platform;
    this.#documents = new DocumentCache(platform);
  }

  /** Throws `RuntimeError`. */
  static async open(connection: NodeConnection): Promise<ContainerdImageKeeper> {
    return new ContainerdImageKeeper(connection, await connection.use(platformOf));
  }

  get name(): string {
    return containerdName(this.#connection.last);
  }

  get fetchedBy(): "nodewarm" | "runtime" {
    return this.#connection.last.snapshotter === "overlayfs" ? "nodewarm" : "runtime";
  }

  get folders(): ImageFolders {
    const node = this.#connection.last;
    return { blobs: node.local(node.blobsFolder), snapshots: this.#otherSnapshots ?? node.local(node.snapshotsFolder) };
  }

  observe({ signal }: { readonly signal: AbortSignal }): Promise<ImageObservation> {
    return this.#use(signal, async (node) => {
      const isOther = node.snapshotter !== "overlayfs";
      this.#otherSnapshots = isOther ? await nearestFolder(node.local(node.snapshotsFolder)) : undefined;
      return observeImages(node, this.#documents, signal);
    });
  }

  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<ImageChange> {
    return watchChanges((work) => this.#connection.use(work), signal);
  }

  fetch(image: ResolvedImage, repository: string, options: FetchOptions): Promise<FetchReport> {
    return this.#use(options.signal, async (node) => {
      if (node.snapshotter === "overlayfs") {
        const { fetchImage } = await import("../fetch/fetch-image.ts");
        return fetchImage(node, image, repository, options);
      }
      const { pullImage } = await import("./pull-image.ts");
      return pullImage(node, this.#documents, image, repository, options);
    });
  }

  setName(name: string, digest: Digest, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, (node) => setName(node, this.#documents, name, digest, signal));
  }

  release(name: string, how: "remove" | "unpin", { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, (node) => releaseName(node, name, how, signal));
  }

  cutOff(disk: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, async (node) => {
      const { cutOffDisk } = await import("../eject/cut-off-disk.ts");
      await cutOffDisk(node, disk, signal);
    });
  }

  tidy({ isTight, signal }: { readonly isTight: boolean; readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, async (node) => {
      if (node.snapshotter !== "overlayfs") return;
      const { tidySpool } = await import("../fetch/tidy-spool.ts");
      await tidySpool(node, isTight);
    });
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #use<Result>(signal: AbortSignal, work: (node: ContainerdNode) => Promise<Result>): Promise<Result> {
    signal.throwIfAborted();
    return this.#connection.use(work);
  }
}

/** Other programs lay out their folder as they like, and make it when they first start; what they write lands on the same file system. */
async function nearestFolder(path: string): Promise<string> {
  const isThere = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return isThere || path === dirname(path) ? path : nearestFolder(dirname(path));
}

/** Which images containerd takes: what its snapshotter is for (containerd `platforms.DefaultSpec`). */
async function platformOf({ client, snapshotter }: ContainerdNode): Promise<Platform> {
  const [plugin] = await client.introspection.plugins([`type==io.containerd.snapshotter.v1,id==${snapshotter}`]);
  return plugin?.platforms[0] ?? hostPlatform();
}
