import { join } from "node:path";
import type { Digest, Platform } from "../../../oci/descriptor.ts";
import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import type {
  FetchOptions,
  FetchReport,
  ImageChange,
  ImageFolders,
  ImageKeeper,
  ImageObservation,
} from "../../image-keeper.ts";
import { keepListening } from "../../keep-listening.ts";
import type { ReopenedNode } from "../../reopened-node.ts";
import { type DockerNode, dockerName } from "../docker-node.ts";
import { pullImage, releaseName, setName } from "./change-names.ts";
import { observeImages } from "./read-images.ts";
import { listen } from "./watch-changes.ts";

/** The images of a Docker with overlay2, which pulls them itself. */
export class DockerImageKeeper implements ImageKeeper {
  readonly fetchedBy = "runtime";
  readonly #node: ReopenedNode<DockerNode>;

  /** Takes over `node`: `close` closes it. */
  constructor(node: ReopenedNode<DockerNode>) {
    this.#node = node;
  }

  get name(): string {
    return dockerName(this.#node.last);
  }

  get platform(): Platform {
    return this.#node.last.platform;
  }

  get folders(): ImageFolders {
    const { root } = this.#node.last.store;
    return { blobs: join(root, "image"), snapshots: join(root, "overlay2") };
  }

  observe({ signal }: { readonly signal: AbortSignal }): Promise<ImageObservation> {
    return this.#use(signal, (node) => observeImages(node, signal));
  }

  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<ImageChange> {
    return keepListening(
      (queue, running, onListening) => this.#node.use(({ engine }) => listen(engine, queue, running, onListening)),
      signal,
    );
  }

  fetch(image: ResolvedImage, repository: string, options: FetchOptions): Promise<FetchReport> {
    return this.#use(options.signal, (node) => pullImage(node, image, repository, options));
  }

  setName(name: string, digest: Digest, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, (node) => setName(node, name, digest, signal));
  }

  release(name: string, how: "remove" | "unpin", { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, (node) => releaseName(node, name, how, signal));
  }

  cutOff(disk: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#use(signal, async (node) => {
      const [{ lockDaemon }, { hideFromDaemon }] = await Promise.all([
        import("../daemon-lock.ts"),
        import("../disk-mount.ts"),
      ]);
      await using _ = await lockDaemon(node.store.root, signal);
      await hideFromDaemon(node, disk, signal);
    });
  }

  async tidy(): Promise<void> {}

  close(): Promise<void> {
    return this.#node.close();
  }

  async #use<Result>(signal: AbortSignal, work: (node: DockerNode) => Promise<Result>): Promise<Result> {
    signal.throwIfAborted();
    return this.#node.use(work);
  }
}
