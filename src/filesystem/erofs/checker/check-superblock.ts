import { blockBytes, featureCompat, superblock } from "../constants.ts";
import type { ErofsImage } from "../reader/erofs-image.ts";
import type { ProblemList } from "./problem-list.ts";
import type { Profile } from "./profile.ts";

const diskAlignmentBlocks = (1 << 20) / blockBytes;

/** What the disk format says of the superblock beyond what every reader of EROFS insists on. */
export async function checkSuperblock(image: ErofsImage, profile: Profile, problems: ProblemList): Promise<void> {
  const place = "superblock";
  const { superblock: sb } = image;
  if (sb.metadataBlock >= sb.blockCount) problems.add(place, "the metadata area begins behind the end of the image");
  if (sb.buildTimeNanoseconds >= 1e9) problems.add(place, "the nanoseconds of the build time are no such number");
  if (profile === "any") return;

  if (sb.featureCompat !== featureCompat.checksum) {
    problems.add(place, `compatible features are 0x${sb.featureCompat.toString(16)}, not 0x1`);
  }
  if (sb.buildTimeNanoseconds !== 0) problems.add(place, "the build time has nanoseconds");
  if (sb.xattrBlock !== 0) problems.add(place, "there are shared xattrs");
  const volumeName = profile === "disk" ? "nodewarm" : "";
  if (sb.volumeName !== volumeName) problems.add(place, `the volume name is "${sb.volumeName}", not "${volumeName}"`);
  if (profile === "disk" && sb.blockCount % diskAlignmentBlocks !== 0) {
    problems.add(place, `${sb.blockCount} blocks are no multiple of 1 MiB`);
  }
  const block = await image.view(0, blockBytes, place);
  const mustBeZero: [from: number, to: number, what: string][] = [
    [0, superblock.position, "bytes before the superblock"],
    [superblock.position + superblock.extensionSlots, superblock.position + superblock.rootNid, "extension slots"],
    [superblock.position + superblock.rest, blockBytes, "unused fields and bytes behind the superblock"],
  ];
  for (const [from, to, what] of mustBeZero) {
    if (block.subarray(from, to).some((byte) => byte !== 0)) problems.add(place, `${what} are not zero`);
  }
}
