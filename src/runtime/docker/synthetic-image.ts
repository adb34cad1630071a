import { hash } from "node:crypto";
import { DiskError } from "../../disk/disk-error.ts";
import type { IndexImage } from "../../disk/reader/disk-index.ts";
import { type Digest, digestHex, isDigest } from "../../oci/descriptor.ts";
import { anything, array, object, readShape, record, stringThat } from "../../oci/json-shape.ts";
import { parseJson } from "./durable-file.ts";
import { endOfTar, tarMember } from "./tar-member.ts";

/**
 * Name of the only file of a synthetic layer. Docker remembers each layer as the tar it came from: as the tree of the disk has no such file,
 * `docker save` and `docker push` fail, rather than give away an image without files.
 */
export const placeholderName = ".nodewarm-placeholder";

/** The layer that stands for a tree of a disk; the same for every disk with that tree, and on every node. */
export type SyntheticLayer = { readonly tree: string; readonly tar: Buffer; readonly diffID: Digest };

/** What Docker is given for an image of a disk. Its id is a function of config and tree alone. */
export type SyntheticImage = {
  readonly id: Digest;
  readonly config: Buffer;
  readonly layer: SyntheticLayer;
};

/** The key that our image configs have besides the image's own. Docker keeps it and shows it nowhere; builds and commits on the image lack it. */
const ownKey = "nodewarm";

const digest = stringThat(isDigest, "a digest");
const tree = stringThat((text): text is string => /^(?:images|layers)\/[0-9a-f]{64}$/.test(text), "the path of a tree");
const ownConfig = object({
  [ownKey]: object({ tree, config: digest }),
  rootfs: object({ diff_ids: array(digest) }),
});
const anyObject = record(anything);

/** What an image config says of itself when it is one of ours. */
export type OwnConfig = {
  /** Tree of the disk that the layer stands for. */
  readonly tree: string;
  /** Digest of the config that the image has in the registry. */
  readonly config: Digest;
  /** Of the layer, and as it is alone its chainID too. */
  readonly diffID: Digest;
};

export function makeSyntheticLayer(tree: string): SyntheticLayer {
  const text = `This layer stands for ${tree} of a disk of container images. Its files are there once Nodewarm has linked it.\n`;
  const tar = Buffer.concat([tarMember(placeholderName, Buffer.from(text)), endOfTar]);
  return { tree, tar, diffID: sha256(tar) };
}

/**
 * The image with one layer in place of its own. Of its history the last step that made a layer keeps it, as Docker refuses more steps with
 * layers than layers. Throws `DiskError` `corrupt` when the config is none.
 */
export function makeSyntheticImage(image: IndexImage, tree: string, configBytes: Uint8Array): SyntheticImage {
  const layer = makeSyntheticLayer(tree);
  const document = parseConfig(image, configBytes);
  const config = Buffer.from(
    JSON.stringify({
      ...document,
      rootfs: { type: "layers", diff_ids: [layer.diffID] },
      ...(Array.isArray(document.history) && { history: withOneLayer(document.history) }),
      [ownKey]: { tree, config: image.config.digest },
    }),
  );
  return { id: sha256(config), config, layer };
}

/** `undefined` when the config is none of ours. */
export function readOwnConfig(configBytes: Uint8Array): OwnConfig | undefined {
  // Nearly all are not ours, and need not be parsed.
  const bytes = Buffer.from(configBytes.buffer, configBytes.byteOffset, configBytes.length);
  if (!bytes.includes(`"${ownKey}"`)) return undefined;
  const { value } = readShape(ownConfig, parseJson(bytes.toString()));
  const [diffID, ...more] = value?.rootfs.diff_ids ?? [];
  return value === undefined || diffID === undefined || more.length > 0 ? undefined : { ...value[ownKey], diffID };
}

/** Images as `docker save` writes them (docker/image-spec v1.2), without names. */
export function makeArchive(images: readonly SyntheticImage[]): Buffer {
  const distinct = [...new Map(images.map((image) => [image.id, image])).values()];
  const layers = new Map(images.map(({ layer }) => [layer.diffID, layer]));
  const configName = (image: SyntheticImage) => `${digestHex(image.id)}.json`;
  const layerName = (diffID: Digest) => `${digestHex(diffID)}.tar`;
  const manifest = distinct.map((image) => ({
    Config: configName(image),
    RepoTags: null,
    Layers: [layerName(image.layer.diffID)],
  }));
  return Buffer.concat([
    ...[...layers.values()].map(({ diffID, tar }) => tarMember(layerName(diffID), tar)),
    ...distinct.map((image) => tarMember(configName(image), image.config)),
    tarMember("manifest.json", Buffer.from(JSON.stringify(manifest))),
    endOfTar,
  ]);
}

function parseConfig(image: IndexImage, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const { value, problem } = readShape(anyObject, parseJson(Buffer.from(bytes).toString()));
  if (problem === undefined) return value;
  const name = image.names[0] ?? image.config.digest;
  throw new DiskError("corrupt", `the config of ${name} on the disk ${problem.message}; build the disk again`);
}

function withOneLayer(history: readonly unknown[]): unknown[] {
  const last = history.findLastIndex((step) => !isEmptyStep(step));
  return history.map((step, index) =>
    index === last || typeof step !== "object" || step === null ? step : { ...step, empty_layer: true },
  );
}

function isEmptyStep(step: unknown): boolean {
  return typeof step === "object" && step !== null && "empty_layer" in step && step.empty_layer === true;
}

function sha256(bytes: Uint8Array): Digest {
  return `sha256:${hash("sha256", bytes, "hex")}`;
}
