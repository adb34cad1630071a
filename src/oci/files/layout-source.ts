import type { Descriptor, Digest, Platform } from "../descriptor.ts";
import { digestHex } from "../descriptor.ts";
import { documentMediaType, parseIndex } from "../image-documents.ts";
import type { OciLimits } from "../limits.ts";
import { OciError } from "../oci-error.ts";
import { formatReference, imageName, parseReference, type Reference } from "../reference.ts";
import { type BlobStore, resolveImage } from "../resolve-image.ts";
import type { ImageSource, ResolvedImage } from "../resolved-image.ts";
import type { FileTree } from "./file-tree.ts";
import { readWhole } from "./read-whole.ts";

/** Which of a layout's images is meant. */
export type LayoutSelector = {
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
  readonly reference?: Reference | undefined;
};

/** Annotations of an index entry: of the OCI image spec, and of containerd, docker and BuildKit. */
const tagAnnotation = "org.opencontainers.image.ref.name";
const nameAnnotation = "io.containerd.image.name";

/** An image in an OCI image layout, be it a folder or an archive of one. */
export class LayoutSource implements ImageSource {
  readonly #tree: FileTree;
  readonly #selector: LayoutSelector;
  readonly #limits: OciLimits;
  #closed: Promise<void> | undefined;

  /** Closes `tree` when it is closed. */
  constructor(tree: FileTree, selector: LayoutSelector, limits: OciLimits) {
    this.#tree = tree;
    this.#selector = selector;
    this.#limits = limits;
  }

  async resolve(platform: Platform, { signal }: { readonly signal: AbortSignal }): Promise<ResolvedImage> {
    const tree = this.#tree;
    const limits = this.#limits;
    const maxBytes = limits["manifest-bytes"];
    const bytes = await readWhole(tree, "index.json", { maxBytes, limit: "manifest-bytes", signal });
    if (!bytes) throw new OciError("not-found", `${tree.path} is no OCI image layout: it has no index.json`);
    const entries = parseIndex(bytes, limits["index-entries"], `${tree.path}/index.json`);
    const below = await this.#describeByDigest(entries, signal);
    const chosen = below ? [below] : chooseEntries(entries, this.#selector, tree.path);
    return resolveImage({
      what: describe(tree.path, this.#selector),
      names: namesOf(chosen),
      targets: uniqueByDigest(chosen),
      store: layoutStore(tree),
      limits,
      platform,
      signal,
    });
  }

  /** A manifest that the layout only lists below an index can be named by its digest too. */
  async #describeByDigest(entries: readonly Descriptor[], signal: AbortSignal): Promise<Descriptor | undefined> {
    const { digest } = this.#selector;
    if (digest === undefined || entries.some((entry) => entry.digest === digest)) return undefined;
    const maxBytes = this.#limits["manifest-bytes"];
    const path = `blobs/sha256/${digestHex(digest)}`;
    const bytes = await readWhole(this.#tree, path, { maxBytes, limit: "manifest-bytes", signal });
    if (!bytes) return undefined;
    return {
      mediaType: documentMediaType(bytes, undefined, `${this.#tree.path}@${digest}`),
      digest,
      size: bytes.length,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#tree.close();
    return this.#closed;
  }
}

function layoutStore(tree: FileTree): BlobStore {
  const pathOf = ({ digest }: Descriptor) => `blobs/sha256/${digestHex(digest)}`;
  const missing = ({ digest }: Descriptor) =>
    new OciError("not-found", `${tree.path} does not hold the blob ${digest}`);
  return {
    async readDocument(descriptor, options) {
      const bytes = await readWhole(tree, pathOf(descriptor), options);
      if (!bytes) throw missing(descriptor);
      return bytes;
    },
    async *openBlob(descriptor, { signal, range }) {
      const file = await tree.open(pathOf(descriptor));
      if (!file) throw missing(descriptor);
      try {
        if (file.size !== descriptor.size) {
          const message = `The blob ${descriptor.digest} in ${tree.path} has ${file.size} bytes instead of ${descriptor.size}`;
          throw new OciError("size-mismatch", message);
        }
        yield* file.read(signal, range);
      } finally {
        await file.close();
      }
    },
  };
}

/** The entries that the selector means: several only if they are one image's, for different platforms. */
function chooseEntries(entries: readonly Descriptor[], selector: LayoutSelector, path: string): readonly Descriptor[] {
  const { tag, digest, reference } = selector;
  if (tag === undefined && digest === undefined && reference === undefined) {
    const labels = new Set(entries.map(labelOf));
    if (uniqueByDigest(entries).length <= 1 || labels.size <= 1) return nonEmpty(entries, path, "any image");
    const message = `${path} holds several images; name one of: ${list(entries)}`;
    throw new OciError("invalid-argument", message);
  }
  const wanted = digest ?? tag ?? (reference && formatReference(reference));
  const matches = entries.filter((entry) => {
    if (digest !== undefined) return entry.digest === digest;
    if (tag !== undefined)
      return entry.annotations?.[tagAnnotation] === tag || entry.annotations?.[nameAnnotation] === tag;
    return namesOf([entry]).includes(wanted ?? "");
  });
  if (matches.length > 0) return matches;
  throw new OciError("not-found", `${path} holds no image ${wanted}; there is: ${list(entries)}`);
}

function nonEmpty(entries: readonly Descriptor[], path: string, what: string): readonly Descriptor[] {
  if (entries.length === 0) throw new OciError("not-found", `${path} does not hold ${what}`);
  return entries;
}

function labelOf(entry: Descriptor): string {
  return (
    entry.annotations?.[nameAnnotation] ?? entry.annotations?.[tagAnnotation] ?? (entry.platform ? "" : entry.digest)
  );
}

function list(entries: readonly Descriptor[]): string {
  const labels = [...new Set(entries.map((entry) => labelOf(entry) || entry.digest))];
  return labels.length === 0 ? "none" : labels.slice(0, 20).join(", ") + (labels.length > 20 ? ", …" : "");
}

/** Normalised names that the annotations hold. A mere tag is no name. */
function namesOf(entries: readonly Descriptor[]): string[] {
  const names = new Set<string>();
  for (const { annotations } of entries) {
    const name = annotations?.[nameAnnotation];
    const tag = annotations?.[tagAnnotation];
    for (const text of [name, tag?.includes("/") ? tag : undefined]) {
      const normal = text === undefined ? undefined : normalised(text);
      if (normal !== undefined) names.add(normal);
    }
  }
  return [...names].sort();
}

function normalised(text: string): string | undefined {
  try {
    return imageName(parseReference(text));
  } catch {
    // Annotations are free text; what is no reference is no name.
    return undefined;
  }
}

function uniqueByDigest(entries: readonly Descriptor[]): Descriptor[] {
  return [...new Map(entries.map((entry) => [entry.digest, entry])).values()];
}

function describe(path: string, { tag, digest, reference }: LayoutSelector): string {
  if (digest !== undefined) return `${path}@${digest}`;
  if (tag !== undefined) return `${path}:${tag}`;
  return reference ? `${path}:${formatReference(reference)}` : path;
}
