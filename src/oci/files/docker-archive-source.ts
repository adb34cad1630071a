import { createHash } from "node:crypto";
import type { Descriptor, Digest, Platform } from "../descriptor.ts";
import { digestOf, parseConfig } from "../image-documents.ts";
import { array, object, orAbsent, readShape, type Shaped, string } from "../json-shape.ts";
import type { OciLimits } from "../limits.ts";
import { OciError } from "../oci-error.ts";
import { formatReference, imageName, parseReference, type Reference } from "../reference.ts";
import { resolveImage } from "../resolve-image.ts";
import type { ImageSource, ResolvedImage } from "../resolved-image.ts";
import type { FileTree, OpenFile } from "./file-tree.ts";
import { readWhole } from "./read-whole.ts";

/** `manifest.json` of `docker save` (moby image spec 1.2, "Combined Image JSON + Filesystem Changeset Format"). */
const entryShape = object({ Config: string, RepoTags: orAbsent(array(string)), Layers: orAbsent(array(string)) });
const manifestShape = array(entryShape);
type Entry = Shaped<typeof entryShape>;

const dockerTypes = {
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  config: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar",
};

type Converted = {
  readonly manifest: Descriptor;
  readonly documents: ReadonlyMap<Digest, Uint8Array>;
  readonly layerPaths: ReadonlyMap<Digest, string>;
  readonly names: readonly string[];
};

/**
 * An image that `docker save` wrote without OCI documents. It has no manifest, so one is made: always the same for the same
 * archive content, with the layers as they are stored.
 */
export class DockerArchiveSource implements ImageSource {
  readonly #tree: FileTree;
  readonly #reference: Reference | undefined;
  readonly #limits: OciLimits;
  #converted: Converted | undefined;
  #closed: Promise<void> | undefined;

  /** Closes `tree` when it is closed. */
  constructor(tree: FileTree, reference: Reference | undefined, limits: OciLimits) {
    this.#tree = tree;
    this.#reference = reference;
    this.#limits = limits;
  }

  async resolve(platform: Platform, { signal }: { readonly signal: AbortSignal }): Promise<ResolvedImage> {
    const tree = this.#tree;
    this.#converted ??= await this.#convert(signal);
    const { manifest, documents, layerPaths, names } = this.#converted;
    return resolveImage({
      what: this.#reference ? `${formatReference(this.#reference)} in ${tree.path}` : tree.path,
      names,
      targets: [manifest],
      store: {
        async readDocument({ digest }) {
          const bytes = documents.get(digest);
          if (!bytes) throw new OciError("not-found", `${tree.path} does not hold ${digest}`);
          return bytes;
        },
        async *openBlob({ digest }, options) {
          yield* (await openMember(tree, layerPaths.get(digest) ?? "")).read(options.signal, options.range);
        },
      },
      limits: this.#limits,
      platform,
      signal,
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#tree.close();
    return this.#closed;
  }

  async #convert(signal: AbortSignal): Promise<Converted> {
    const tree = this.#tree;
    const entry = chooseEntry(await this.#entries(signal), this.#reference, tree.path);
    const config = await readWhole(tree, entry.Config, {
      maxBytes: this.#limits["config-bytes"],
      limit: "config-bytes",
      signal,
    });
    if (!config) throw new OciError("invalid-archive", `${tree.path} does not hold the config ${entry.Config}`);
    const paths = entry.Layers ?? [];
    const { diffIDs } = parseConfig(config, paths.length, `${entry.Config} in ${tree.path}`);
    const layers: Descriptor[] = [];
    const layerPaths = new Map<Digest, string>();
    for (const [index, path] of paths.entries()) {
      const layer = await describeLayer(await openMember(tree, path), diffIDs[index], signal);
      layers.push(layer);
      layerPaths.set(layer.digest, path);
    }
    const configDescriptor = { mediaType: dockerTypes.config, size: config.length, digest: digestOf(config) };
    const document = { schemaVersion: 2, mediaType: dockerTypes.manifest, config: configDescriptor, layers };
    const manifest = Buffer.from(JSON.stringify(document));
    const descriptor = { mediaType: dockerTypes.manifest, digest: digestOf(manifest), size: manifest.length };
    const documents = new Map([
      [descriptor.digest, manifest],
      [configDescriptor.digest, config],
    ]);
    return { manifest: descriptor, documents, layerPaths, names: namesOf(entry) };
  }

  async #entries(signal: AbortSignal): Promise<readonly Entry[]> {
    const { path } = this.#tree;
    const maxBytes = this.#limits["manifest-bytes"];
    const bytes = await readWhole(this.#tree, "manifest.json", { maxBytes, limit: "manifest-bytes", signal });
    if (!bytes) throw new OciError("invalid-archive", `${path} is no docker archive: it has no manifest.json`);
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString("utf8"));
    } catch (error) {
      throw new OciError("invalid-archive", `manifest.json in ${path} is not JSON`, { cause: error });
    }
    const entries = readShape(manifestShape, value);
    if (!entries.problem) return entries.value;
    const place = entries.problem.path && `${entries.problem.path} `;
    throw new OciError("invalid-archive", `manifest.json in ${path} is malformed: ${place}${entries.problem.message}`);
  }
}

function chooseEntry(entries: readonly Entry[], reference: Reference | undefined, path: string): Entry {
  const list = () => entries.flatMap(namesOf).slice(0, 20).join(", ") || "none with a name";
  if (reference) {
    const wanted = imageName(reference);
    const found = entries.find((entry) => namesOf(entry).includes(wanted));
    if (found) return found;
    throw new OciError("not-found", `${path} holds no image ${wanted}; there is: ${list()}`);
  }
  const [only, ...others] = entries;
  if (!only) throw new OciError("not-found", `${path} does not hold any image`);
  if (others.length > 0) throw new OciError("invalid-argument", `${path} holds several images; name one of: ${list()}`);
  return only;
}

function namesOf(entry: Entry): string[] {
  const names = new Set<string>();
  for (const tag of entry.RepoTags ?? []) {
    try {
      names.add(imageName(parseReference(tag)));
    } catch {
      // `<none>:<none>` and the like.
    }
  }
  return [...names].sort();
}

async function openMember(tree: FileTree, path: string): Promise<OpenFile> {
  const file = await tree.open(path);
  if (!file) throw new OciError("invalid-archive", `${tree.path} does not hold the layer ${path}`);
  return file;
}

/** A plain tar's digest is the diffID, which whoever reads the layer checks; a compressed one has to be read for it. */
async function describeLayer(file: OpenFile, diffID: Digest, signal: AbortSignal): Promise<Descriptor> {
  const hash = createHash("sha256");
  let suffix: string | undefined;
  for await (const piece of file.read(signal)) {
    suffix ??= compressionSuffix(piece);
    if (suffix === "") break;
    hash.update(piece);
  }
  const digest: Digest = suffix ? `sha256:${hash.digest("hex")}` : diffID;
  return { mediaType: `${dockerTypes.layer}${suffix ?? ""}`, size: file.size, digest };
}

function compressionSuffix(start: Uint8Array): string {
  if (start[0] === 0x1f && start[1] === 0x8b) return ".gzip";
  const isZstd = [0x28, 0xb5, 0x2f, 0xfd].every((byte, index) => start[index] === byte);
  return isZstd ? ".zstd" : "";
}
