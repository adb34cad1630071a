import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Digest } from "../../../src/oci/descriptor.ts";
import type { ResolvedImage } from "../../../src/oci/resolved-image.ts";
import { openDiskSource } from "../../../src/runtime/host/disk-source.ts";
import type { ImageChange, ImageKeeper, NodeContent, NodeImage } from "../../../src/runtime/image-keeper.ts";
import type { OpenDisk, Runtime } from "../../../src/runtime/runtime.ts";
import { type MadeImage, makeImage } from "../image-maker.ts";
import { imageOfLayout } from "../layout-image.ts";
import {
  appName,
  type InjectionImages,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../runtimes/injection.ts";
import { addNote } from "../runtimes/injection-node.ts";
import type { Scope } from "../temporary.ts";

/** What a node has of somebody else, and what he does to it. */
export type Others = {
  /** As a pull does it: content, layers, and the name, whatever it stood for. */
  pull(name: string, image: SuiteImage): Promise<void>;
  /** This name alone, and what nothing needs any more. */
  removeName(name: string): Promise<void>;
  /** All names of the image, pinned or not, as `crictl rmi` does. */
  removeImage(name: string): Promise<void>;
  startContainer(image: string): Promise<string>;
  removeContainer(id: string): Promise<void>;
  collectGarbage(): Promise<void>;
  /** The daemon ends in order, or is killed, and comes back. */
  restart(how: "stop" | "kill"): Promise<void>;
  /** The device of a disk goes. */
  takeAway(disk: string): Promise<void>;
};

/** A node without images of ours. */
export type Setting = {
  readonly keeper: ImageKeeper;
  readonly runtime: Runtime;
  readonly others: Others;
  /** That images are pulled and fetched from: `host/path`. */
  readonly repository: string;
  /** Whether the runtime collects what is not pinned. */
  readonly hasPins: boolean;
};

export type SuiteImage = {
  readonly layout: string;
  readonly made: MadeImage;
  readonly resolved: ResolvedImage;
  readonly digest: Digest;
};

/** A disk with `app`, and images that are on none, `other` and `another`, all on one base. */
export type Images = {
  readonly disk: OpenDisk;
  readonly app: SuiteImage;
  readonly other: SuiteImage;
  readonly another: SuiteImage;
};

export type World = {
  images(): Images;
  makeSetting(scope: Scope): Promise<Setting>;
};

export async function makeImages(scope: Scope): Promise<Images> {
  const made = await makeInjectionImages(scope, randomUUID());
  const { path } = await makeInjectionDisk(scope, made, { images: [[appName, made.app]] });
  const disk = await openDiskSource(path);
  scope.defer(() => disk.disk.close());
  const image = (each: MadeImage) => suiteImage(made, each);
  return {
    disk,
    app: await image(made.app),
    other: await image(await noteImage(made, "other")),
    another: await image(await noteImage(made, "another")),
  };
}

async function noteImage({ layout, base }: InjectionImages, name: string): Promise<MadeImage> {
  const [below] = base.layers;
  if (below === undefined) throw new Error("the base has no layer");
  const note = await addNote(layout, `${name}-${randomUUID()}`);
  const created = "2024-05-01T10:20:30Z";
  return makeImage(layout, { layers: [below, note], platform, created, run: { Cmd: ["/bin/sleep", "1000"] } });
}

async function suiteImage({ layout }: InjectionImages, made: MadeImage): Promise<SuiteImage> {
  const resolved = await imageOfLayout(layout, made.manifest);
  return { layout, made, resolved, digest: resolved.target.digest };
}

export const signal = new AbortController().signal;

export async function imageOf(keeper: ImageKeeper, name: string): Promise<NodeImage | undefined> {
  return (await keeper.observe({ signal })).images.find((image) => image.name === name);
}

export async function contentOf(keeper: ImageKeeper, digest: Digest): Promise<NodeContent | undefined> {
  return (await keeper.observe({ signal })).contents.get(digest);
}

/** Reads changes one by one; all wait at most ten seconds. */
export class ChangeReader {
  readonly #changes: AsyncIterator<ImageChange>;

  constructor(keeper: ImageKeeper, until: AbortSignal) {
    this.#changes = keeper.changes({ signal: until })[Symbol.asyncIterator]();
  }

  /** The changes up to the first that `isWanted` says, that one too. */
  async upTo(what: string, isWanted: (change: ImageChange) => boolean): Promise<ImageChange[]> {
    const seen: ImageChange[] = [];
    const late = AbortSignal.timeout(60_000);
    const lateness = new Promise<never>((_, reject) =>
      late.addEventListener("abort", () => reject(new Error(`${what} did not come; ${JSON.stringify(seen)} did`))),
    );
    for (;;) {
      const { value, done } = await Promise.race([this.#changes.next(), lateness]);
      assert.ok(done !== true, `the changes ended before ${what}`);
      seen.push(value);
      if (isWanted(value)) return seen;
    }
  }

  /** The change of a name. */
  async changed(name: string): Promise<void> {
    await this.upTo(`a change of ${name}`, (change) => change.type === "changed" && change.name === name);
  }

  async listening(): Promise<ImageChange[]> {
    return this.upTo("listening", ({ type }) => type === "listening");
  }

  next(): Promise<IteratorResult<ImageChange>> {
    return this.#changes.next();
  }
}
