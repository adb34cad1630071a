import type { OpenDisk } from "../../runtime/runtime.ts";
import { CliError } from "../cli-error.ts";
import { closestWord } from "../closest-word.ts";
import { shortImage } from "../format.ts";
import type { WantedImage } from "./arguments.ts";

/** Names on one disk of the images that are wanted; `undefined` stands for all of the disk. */
export type DiskChoice = { readonly open: OpenDisk; readonly images: readonly string[] | undefined };

/**
 * Which disk has what is wanted. A tag or a digest will do, whichever of them the disk names. Disks without any of it are left out. Throws
 * `CliError` `not-found` for an image that is on none.
 */
export function chooseImages(disks: readonly OpenDisk[], wanted: readonly WantedImage[]): DiskChoice[] {
  if (wanted.length === 0) return disks.map((open) => ({ open, images: undefined }));
  const choices = disks.map((open) => ({ open, images: wanted.flatMap((image) => namesOn(open, image)) }));
  const missing = wanted.filter((image) => !disks.some((open) => namesOn(open, image).length > 0));
  if (missing.length > 0) {
    const known = disks.flatMap(({ disk }) => disk.index.images.flatMap(({ names }) => names));
    const messages = missing.map(({ text, name }) => {
      const closest = closestWord(name, known);
      return `${text} is on no disk given${closest === undefined ? "" : `; did you mean ${shortImage(closest)}?`}`;
    });
    throw new CliError("not-found", `${messages.join("\n")}\n"nodewarm inspect DISK" lists the images of a disk`);
  }
  return choices.filter(({ images }) => images.length > 0);
}

function namesOn({ disk }: OpenDisk, { name, reference }: WantedImage): string[] {
  const { host, repository, digest } = reference;
  const prefixes = [":", "@"].map((separator) => `${host}/${repository}${separator}`);
  return disk.index.images.flatMap(({ names, target }) => {
    const isNamed = names.includes(name);
    const hasDigest =
      digest === target.digest && names.some((each) => prefixes.some((prefix) => each.startsWith(prefix)));
    const [first] = names;
    if (isNamed) return [name];
    return hasDigest && first !== undefined ? [first] : [];
  });
}
