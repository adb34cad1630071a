import type { ImageResolver } from "./image-resolver.ts";

/** The resolver that `open` makes when it is first asked: what reaches registries is large, and disks come first. */
export class LazyImageResolver implements ImageResolver {
  readonly #open: () => Promise<ImageResolver>;
  #opened: Promise<ImageResolver> | undefined;
  #resolved: ImageResolver | undefined;

  constructor(open: () => Promise<ImageResolver>) {
    this.#open = open;
  }

  get problems(): readonly string[] {
    return this.#resolved?.problems ?? [];
  }

  async resolveTag(...asked: Parameters<ImageResolver["resolveTag"]>): ReturnType<ImageResolver["resolveTag"]> {
    return (await this.#resolver()).resolveTag(...asked);
  }

  async openImage(...asked: Parameters<ImageResolver["openImage"]>): ReturnType<ImageResolver["openImage"]> {
    return (await this.#resolver()).openImage(...asked);
  }

  async close(): Promise<void> {
    await (await this.#opened)?.close();
  }

  #resolver(): Promise<ImageResolver> {
    this.#opened ??= this.#open().then((resolver) => {
      this.#resolved = resolver;
      return resolver;
    });
    return this.#opened;
  }
}
