import { readFile } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import { text } from "node:stream/consumers";
import type { ImageSet } from "../../kubernetes/image-set.ts";
import { CliError } from "../cli-error.ts";
import type { CommandIo } from "../command.ts";
import { UsageError } from "../usage-error.ts";
import { type BuildArguments, checkLine } from "./arguments.ts";

export type ImageList = {
  /** Each argument once, in the order in which they were given. */
  readonly images: readonly string[];
  readonly line: string;
};

/** Line of a disk that no image set and no option names. */
const defaultLine = "default";

/**
 * The images of the command line and of all image sets, and the line: that of `--line`, else the image set's name.
 * Throws `UsageError`, `CliError` for files that cannot be read, `KubernetesError` for those that are no image sets.
 */
export async function collectImages(
  given: Pick<BuildArguments, "images" | "imageSetFiles" | "line">,
  io: Pick<CommandIo, "stdin" | "signal">,
): Promise<ImageList> {
  const sets: ImageSet[] = [];
  for (const file of given.imageSetFiles) {
    const content = await readText(file, io);
    // Loaded here: the schema takes longer to load than a short command line needs to fail.
    const { readImageSets } = await import("../../kubernetes/read-image-sets.ts");
    sets.push(...readImageSets(content, file === "-" ? "standard input" : file));
  }
  const fromSets = sets.flatMap(({ spec }) => spec.images.map(({ ref }) => ref));
  const images = [...new Set([...given.images, ...fromSets])];
  if (images.length === 0) throw new UsageError(`no image: ${given.imageSetFiles.join(", ")} lists none`);
  return { images, line: given.line ?? lineOf(sets) };
}

function lineOf(sets: readonly ImageSet[]): string {
  const names = [...new Set(sets.map(({ metadata }) => metadata.name))];
  if (names.length > 1) {
    throw new UsageError(`several image sets (${names.join(", ")}): say with --line which line the disk belongs to`);
  }
  const [name = defaultLine] = names;
  checkLine(name);
  return name;
}

async function readText(file: string, { stdin, signal }: Pick<CommandIo, "stdin" | "signal">): Promise<string> {
  try {
    // Standard input may be a terminal where nobody types.
    return file === "-"
      ? await text(addAbortSignal(signal, stdin))
      : await readFile(file, { encoding: "utf8", signal });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError("unreadable-file", `image set ${file}: ${reason}`, { cause: error });
  }
}
