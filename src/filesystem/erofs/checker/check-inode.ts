import type { Xattr } from "../../../layers/layer-tree.ts";
import { blockBytes, chunkFormat, dataLayout, inode as inodeFormat } from "../constants.ts";
import type { ErofsImage } from "../reader/erofs-image.ts";
import { direntTypeOfMode, type Inode, isDirectory, isRegular, isSymbolicLink } from "../reader/inode-parser.ts";
import type { ClaimedBytes } from "./claimed-bytes.ts";
import type { Profile } from "./profile.ts";

/** Where in the tree an inode stands, as far as the rules depend on it. */
export type InodeContext = {
  readonly profile: Profile;
  readonly opaqueAllowed: boolean;
  readonly metadataEndBlock: number;
};

type Report = (message: string) => void;

const mapPieceChunks = 16 * 1024;
const sparseChunkBits = 8;
const opaqueName = "trusted.overlay.opaque";

/**
 * Checks an inode with its xattrs, its link target and the places of its data, but not a directory's entries. Takes the
 * bytes of the inode, its inline data and chunk map. Throws `ErofsError` for what cannot be read at all.
 */
export async function checkInode(
  image: ErofsImage,
  inode: Inode,
  context: InodeContext,
  claimed: ClaimedBytes,
  report: Report,
): Promise<void> {
  if (direntTypeOfMode(inode.mode) === 0) report(`mode 0${inode.mode.toString(8)} has no known file type`);
  if (!claimed.claim(inode.position, inode.headerBytes + inode.xattrBytes)) report("shares bytes with other metadata");
  if (inode.position + inode.headerBytes + inode.xattrBytes > context.metadataEndBlock * blockBytes) {
    report("the inode lies outside of the metadata area");
  }
  if (context.profile !== "any") checkForm(inode, context.profile, report);
  await checkXattrs(image, inode, context, report);
  if (inode.layout === dataLayout.chunkBased) await checkChunks(image, inode, claimed, report);
  else await checkFlat(image, inode, context, claimed, report);
  if (isSymbolicLink(inode)) {
    const target = await image.linkTarget(inode);
    if (target.includes(0)) report("the link target has a zero byte");
  }
  const hasData = isRegular(inode) || isDirectory(inode) || isSymbolicLink(inode);
  if (!hasData && inode.sizeBytes !== 0) report(`a special file has ${inode.sizeBytes} bytes of data`);
}

function checkForm(inode: Inode, profile: Profile, report: Report): void {
  if (inode.headerBytes !== inodeFormat.bytes) report("is a compact inode");
  if ((inode.position % blockBytes) + inode.headerBytes > blockBytes) report("the inode crosses a block");
  if (inode.reserved !== 0) report("reserved fields of the inode are not zero");
  const type = inode.mode & 0o170000;
  if (type === 0o140000) report("is a socket");
  if (isRegular(inode)) {
    if (inode.layout === dataLayout.flatInline) report("is a regular file with inline data");
    if (inode.layout === dataLayout.chunkBased && inode.sizeBytes === 0) report("is chunk-based but empty");
    // On a disk, layer images have chunks of one block; the disk's verifier knows which file is one.
    const bits = inode.union & chunkFormat.bitsMask;
    if (inode.layout === dataLayout.chunkBased && bits !== sparseChunkBits && !(profile === "disk" && bits === 0)) {
      report(`has chunks of 2^${bits} blocks`);
    }
  } else if (inode.layout === dataLayout.chunkBased) {
    report("is no regular file but chunk-based");
  }
  const usesUnion = inode.sizeBytes > 0 || type === 0o020000 || type === 0o060000;
  if (!usesUnion && inode.union !== 0) report("has a block address or device number without a use for it");
}

async function checkXattrs(image: ErofsImage, inode: Inode, context: InodeContext, report: Report): Promise<void> {
  const area = await image.xattrArea(inode);
  if (area === undefined) return;
  const names = area.xattrs.map((xattr) => Buffer.from(xattr.name).toString("latin1"));
  if (new Set(names).size !== names.length) report("has an xattr twice");
  if (context.profile === "any") return;
  if (area.xattrs.length === 0) report("has an xattr area without xattrs");
  if (area.sharedCount !== 0) report("has shared xattrs");
  if (area.filter !== 0 || !area.reservedIsZero) report("reserved fields of the xattr header are not zero");
  if (!area.paddingIsZero) report("the padding of xattrs is not zero");
  for (const [i, name] of names.entries()) {
    if (!name.startsWith("trusted.")) continue;
    if (name !== opaqueName) report(`has the xattr ${name}`);
    else checkOpaque(area.xattrs[i], inode, context, report);
  }
}

function checkOpaque(xattr: Xattr, inode: Inode, context: InodeContext, report: Report): void {
  if (!context.opaqueAllowed) report(`has the xattr ${opaqueName} outside of a layer tree`);
  if (!isDirectory(inode)) report(`has the xattr ${opaqueName} but is no directory`);
  if (!Buffer.from(xattr.value).equals(Buffer.from("y")))
    report(`has the xattr ${opaqueName} with a value other than y`);
}

async function checkFlat(
  image: ErofsImage,
  inode: Inode,
  context: InodeContext,
  claimed: ClaimedBytes,
  report: Report,
): Promise<void> {
  if (inode.sizeBytes === 0) return;
  const lastBlock = Math.ceil(inode.sizeBytes / blockBytes) - 1;
  const wholeBytes = inode.layout === dataLayout.flatInline ? lastBlock * blockBytes : inode.sizeBytes;
  const isMetadata = !isRegular(inode);
  if (wholeBytes > 0) {
    // Throws when the range ends outside of the image.
    const extent = await image.extent(inode, 0);
    const blocks = Math.ceil(wholeBytes / blockBytes);
    if (inode.union + blocks > image.superblock.blockCount) report("the last block lies outside of the image");
    if (inode.union === 0) report("data begins in the superblock's block");
    const { metadataBlock } = image.superblock;
    if (isMetadata && (inode.union < metadataBlock || inode.union + blocks > context.metadataEndBlock)) {
      report("its data lies outside of the metadata area");
    }
    if (isMetadata && extent.position !== undefined && !claimed.claim(extent.position, blocks * blockBytes)) {
      report("its data shares bytes with other metadata");
    }
  }
  if (inode.layout === dataLayout.flatInline) {
    const extent = await image.extent(inode, lastBlock * blockBytes);
    const start = inode.position + inode.headerBytes + inode.xattrBytes;
    // The rest of the slot in which the xattrs end is already taken.
    const from = Math.ceil(start / 32) * 32;
    const end = start + extent.length;
    if (end > from && !claimed.claim(from, end - from)) report("its inline data shares bytes with other metadata");
  }
}

async function checkChunks(image: ErofsImage, inode: Inode, claimed: ClaimedBytes, report: Report): Promise<void> {
  if (inode.sizeBytes === 0) return;
  const first = await image.extent(inode, 0);
  if (first.length === 0) return;
  const blocksPerChunk = 2 ** (inode.union & chunkFormat.bitsMask);
  const blocks = Math.ceil(inode.sizeBytes / blockBytes);
  const chunks = Math.ceil(blocks / blocksPerChunk);
  const start = inode.position + inode.headerBytes + inode.xattrBytes;
  const from = Math.ceil(start / 32) * 32;
  const end = start + chunks * 4;
  let outside = 0;
  for (let chunk = 0; chunk < chunks; chunk += mapPieceChunks) {
    const count = Math.min(mapPieceChunks, chunks - chunk);
    const map = await image.chunkMap(inode, chunk, count);
    for (let i = 0; i < count; i++) {
      const address = map.readUInt32LE(i * 4);
      if (address === chunkFormat.hole) continue;
      const length = Math.min(blocksPerChunk, blocks - (chunk + i) * blocksPerChunk);
      if (address === 0 || address + length > image.superblock.blockCount) outside++;
    }
  }
  if (outside > 0) report(`${outside} chunks lie outside of the image`);
  if (end > from && !claimed.claim(from, end - from)) report("its chunk map shares bytes with other metadata");
}
