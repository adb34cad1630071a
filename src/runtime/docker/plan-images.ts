import { hash } from "node:crypto";
import { DiskError } from "../../disk/disk-error.ts";
import type { IndexImage } from "../../disk/reader/disk-index.ts";
import type { DiskReader } from "../../disk/reader/disk-reader.ts";
import { readWholeFile } from "../../filesystem/erofs/reader/file-data.ts";
import { type Digest, digestHex } from "../../oci/descriptor.ts";
import { ociLimits } from "../../oci/limits.ts";
import { formatPlatform, platformRank } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import type { Condition, InjectOptions } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import type { EngineImage } from "./engine-client.ts";
import { isOwnTag, readOwnImage } from "./own-images.ts";
import { makeSyntheticImage, type SyntheticImage } from "./synthetic-image.ts";

/** What the daemon has before an injection. */
export type Before = {
  readonly images: ReadonlyMap<Digest, EngineImage>;
  readonly byTag: ReadonlyMap<string, EngineImage>;
  readonly records: ReadonlyMap<string, DiskRecord>;
  /** Ids of disks. */
  readonly mounted: ReadonlySet<string>;
};

export type ImagePlan = {
  readonly image: IndexImage;
  readonly conditions: readonly Condition[];
  /** `undefined`: nothing is done, as the node has the image itself, or for the reasons in `conditions`. */
  readonly work:
    | {
        readonly synthetic: SyntheticImage;
        /** Tags that are, or will be, ours. */
        readonly names: readonly string[];
        /** Those that do not name it yet. */
        readonly missingNames: readonly string[];
      }
    | undefined;
  readonly isPresent: boolean;
};

/** Throws `DiskError` `corrupt` when the image's config is not what its digest says. */
export async function planImage(
  node: DockerNode,
  disk: DiskReader,
  image: IndexImage,
  before: Before,
  { force, keepTags }: Pick<InjectOptions, "force" | "keepTags">,
): Promise<ImagePlan> {
  const reason = whySkipped(node, image);
  if (reason !== undefined) return { image, conditions: [reason], work: undefined, isPresent: false };
  const synthetic = makeSyntheticImage(image, image.tree ?? "", await readConfig(disk, image));
  const conditions: Condition[] = [];
  const names: string[] = [];
  const missingNames: string[] = [];
  let isPulled = false;
  for (const name of taggedNames(image)) {
    if (keepTags?.includes(name)) continue;
    const current = before.byTag.get(name);
    const kept =
      current === undefined || current.id === synthetic.id || force
        ? undefined
        : await whyKept(node, disk, image, name, current, before);
    if (kept === undefined) {
      names.push(name);
      if (current?.id !== synthetic.id) missingNames.push(name);
    } else if (kept === "same") isPulled = true;
    else conditions.push(kept);
  }
  if (names.length === 0) return { image, conditions, work: undefined, isPresent: isPulled };
  return { image, conditions, work: { synthetic, names, missingNames }, isPresent: false };
}

/** Names under which Docker can have an image: those by digest come only from pulls. */
function taggedNames({ names }: IndexImage): string[] {
  return names.filter((name) => parseReference(name).digest === undefined);
}

function whySkipped({ platform, version }: DockerNode, image: IndexImage): Condition | undefined {
  const [name = image.target.digest] = image.names;
  if (image.tree === null)
    return { type: "NoLayers", message: `${name} has no layers and gains nothing from a disk; pull it` };
  if (taggedNames(image).length === 0)
    return {
      type: "NoTag",
      message: `${name} has no tag, and Docker ${version} gives names by digest only to what it pulls; give the image a tag when the disk is built`,
    };
  if (platformRank(platform, image.platform) === undefined)
    return {
      type: "PlatformMismatch",
      message: `${name} is for ${formatPlatform(image.platform)}, and this Docker for ${formatPlatform(platform)}; build a disk for that platform`,
    };
  return undefined;
}

/** Why a tag that names another image stays; `undefined` when it may be moved, `same` when it names what was pulled under this digest. */
async function whyKept(
  { store }: DockerNode,
  disk: DiskReader,
  image: IndexImage,
  name: string,
  current: EngineImage,
  { records }: Before,
): Promise<Condition | "same" | undefined> {
  // Docker's id of a pulled image is the digest of its config.
  if (current.id === image.config.digest) return "same";
  const own = await readOwnImage(store, current);
  if (own === undefined || !isOwnTag(own, name))
    return {
      type: "TagKept",
      message: `${name} names another image on this node (${current.id}) and is left so; use --force to give it to the image of the disk`,
    };
  const other = own.layer.kind === "linked" ? records.get(own.layer.link.disk) : undefined;
  if (other === undefined || other.line !== disk.index.line || other.sequence <= disk.index.sequence) return undefined;
  return {
    type: "TagKept",
    message: `${name} is injected from a newer disk of this line (${other.id}, sequence ${other.sequence}) and is left so; eject that disk first`,
  };
}

async function readConfig(disk: DiskReader, { config }: IndexImage): Promise<Uint8Array> {
  const path = `blobs/sha256/${digestHex(config.digest)}`;
  const bytes = await readWholeFile(disk.image, await disk.lookup(path), ociLimits["config-bytes"].default, path);
  if (hash("sha256", bytes, "hex") === digestHex(config.digest)) return bytes;
  throw new DiskError("corrupt", `${disk.source.name}: /${path} is not what its digest says; build the disk again`);
}
