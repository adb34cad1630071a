import type { Platform } from "../../oci/descriptor.ts";
import type { ImageSource, ResolvedImage } from "../../oci/resolved-image.ts";
import { CliError } from "../cli-error.ts";

/** Images that are looked up at the same time. */
const parallelResolves = 8;
/** So that one wrong host does not fill the screen. */
const maxFailures = 10;

/** One IMAGE argument and where it leads. */
export type OpenImage = {
  readonly argument: string;
  readonly source: ImageSource;
};

/**
 * Opens every argument with `open`. When one fails, those that are open are closed and the errors of all are told at once.
 */
export async function openImages(
  args: readonly string[],
  open: (argument: string) => Promise<ImageSource>,
): Promise<readonly OpenImage[]> {
  const opened: OpenImage[] = [];
  try {
    await forEach(args, async (argument, index) => {
      opened[index] = { argument, source: await open(argument) };
    });
    return opened;
  } catch (error) {
    await closeImages(opened.filter((image) => image !== undefined));
    throw error;
  }
}

export async function closeImages(images: readonly OpenImage[]): Promise<void> {
  await Promise.all(images.map(({ source }) => source.close()));
}

/**
 * Looks all images up for `platform`, several at once; the same image under several names becomes one with all of them.
 * Throws `CliError` that names every image that failed, or the name that stands for two images.
 */
export async function resolveImages(
  images: readonly OpenImage[],
  platform: Platform,
  options: { readonly signal: AbortSignal; readonly onResolved?: (done: number) => void },
): Promise<readonly ResolvedImage[]> {
  const { signal, onResolved } = options;
  const resolved: { argument: string; image: ResolvedImage }[] = [];
  let done = 0;
  await forEach(images, async ({ argument, source }, index) => {
    signal.throwIfAborted();
    resolved[index] = { argument, image: await source.resolve(platform, { signal }) };
    done += 1;
    onResolved?.(done);
  });
  checkNames(resolved);
  return mergeSameImages(resolved.map(({ image }) => image));
}

/** A name can be made warm for one digest only. */
function checkNames(resolved: readonly { readonly argument: string; readonly image: ResolvedImage }[]): void {
  const seen = new Map<string, { argument: string; digest: string }>();
  for (const { argument, image } of resolved) {
    const digest = image.target.digest;
    for (const name of image.names) {
      const before = seen.get(name);
      if (before !== undefined && before.digest !== digest) {
        throw new CliError(
          "conflicting-names",
          `the name ${name} stands for two images: ${before.digest} (${before.argument}) and ${digest} (${argument}); ` +
            "leave one out, or name it by digest",
        );
      }
      seen.set(name, { argument, digest });
    }
  }
}

function mergeSameImages(images: readonly ResolvedImage[]): readonly ResolvedImage[] {
  const byDigests = new Map<string, ResolvedImage>();
  for (const image of images) {
    const key = `${image.target.digest} ${image.manifest.digest}`;
    const same = byDigests.get(key);
    byDigests.set(key, same === undefined ? image : withNames(same, [...same.names, ...image.names]));
  }
  return [...byDigests.values()];
}

function withNames(image: ResolvedImage, names: readonly string[]): ResolvedImage {
  return {
    ...image,
    names: [...new Set(names)].sort(),
    openLayer: (index, options) => image.openLayer(index, options),
  };
}

/** Runs `action` for each item, several at once, to the end even if some fail; then throws all failures as one error. */
async function forEach<Item>(
  items: readonly Item[],
  action: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && failures.length < maxFailures) {
      const index = next;
      next += 1;
      await action(items[index], index).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallelResolves, items.length) }, worker));
  if (failures.length === 0) return;
  if (failures.length === 1) throw failures[0];
  const messages = failures.map((error) => (error instanceof Error ? error.message : String(error)));
  throw new CliError("unresolved-images", `${failures.length} images failed:\n${messages.join("\n")}`, {
    cause: new AggregateError(failures),
  });
}
