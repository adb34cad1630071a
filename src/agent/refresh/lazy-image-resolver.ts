import { OciError } from "../../oci/oci-error.ts";
import { formatReference } from "../../oci/reference.ts";
import type { ImageResolver } from "./image-resolver.ts";

/** The resolver that `open` makes when it is first asked: what reaches registries is large, and disks come first. */
export class LazyImageResolver implements ImageResolver {
  readonly #open: () => Promise<ImageResolver>;
  #opened: Promise<ImageResolver> | undefined;
  #resolved: ImageResolver | undefined;
  #isClosed = false;

  /** `open` is called again by the next who asks when it has failed; who asks meets what it throws. */
  constructor(open: () => Promise<ImageResolver>) {
    this.#open = open;
  }

  get problems(): readonly string[] {
    return this.#resolved?.problems ?? [];
  }

  async resolveTag(...asked: Parameters<ImageResolver["resolveTag"]>): ReturnType<ImageResolver["resolveTag"]> {
    return (await this.#resolver(asked[0], asked[1].signal)).resolveTag(...asked);
  }

  async openImage(...asked: Parameters<ImageResolver["openImage"]>): ReturnType<ImageResolver["openImage"]> {
    return (await this.#resolver(asked[0], asked[3].signal)).openImage(...asked);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    // One that cannot be opened holds nothing that could be closed.
    const resolver = await this.#opened?.catch(() => undefined);
    await resolver?.close();
  }

  async #resolver(reference: Parameters<typeof formatReference>[0], signal: AbortSignal): Promise<ImageResolver> {
    signal.throwIfAborted();
    if (this.#isClosed && this.#opened === undefined) {
      const message = `Cannot ask for ${formatReference(reference)}: connections are closed`;
      throw new OciError("registry-unreachable", message);
    }
    this.#opened ??= this.#make();
    return this.#opened;
  }

  async #make(): Promise<ImageResolver> {
    try {
      this.#resolved = await this.#open();
      return this.#resolved;
    } catch (error) {
      this.#opened = undefined;
      throw error;
    }
  }
}
