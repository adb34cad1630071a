import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerdRuntimes } from "../../test/support/runtimes/fleet.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { run } from "../suite/command.ts";
import { injectSet, type SetShape } from "./image-set.ts";
import { runInject } from "./methods.ts";

/**
 * One injection where files lie as they do on nodes: those of containerd on a file system with a journal, /run in memory. Without a journal the
 * kernel counts metadata as written by whoever changes it, and not by the journal's thread.
 */
export type WrittenAsOnNodes = {
  /** By the program. */
  readonly ownBytes: number;
};

/** Of the file system; the file below it is sparse. */
const imageBytes = 40e9;
/** In front of what the process in the mount namespace is told. */
const word = "--injection";

type Facts = {
  readonly version: string;
  readonly program: string;
  readonly base: string;
  readonly shape: SetShape;
  readonly work: string;
};

/** In a mount namespace of its own, which takes all mounts with it. `base`: folder of the sets. */
export async function writtenAsOnNodes(
  version: string,
  program: string,
  base: string,
  { images, layers, bytes }: SetShape,
): Promise<WrittenAsOnNodes> {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "as-on-nodes");
  const facts: Facts = { version, program, base, shape: { images, layers, bytes }, work };
  const node = [process.execPath, import.meta.filename, word, JSON.stringify(facts)];
  return JSON.parse(await run("unshare", ["--mount", "--propagation", "private", ...node]));
}

async function inside({ version, program, base, shape, work }: Facts): Promise<void> {
  const [image, files] = [join(work, "image"), join(work, "files")];
  await run("truncate", ["--size", String(imageBytes), image]);
  await run("mkfs.ext4", ["-q", image]);
  await mkdir(files);
  await run("mount", ["-o", "loop", image, files]);
  await mkdir("/run/nodewarm", { recursive: true });
  await run("mount", ["-t", "tmpfs", "nodewarm", "/run/nodewarm"]);
  process.env.TMPDIR = files;
  if (tmpdir() !== files) throw new Error(`temporary files go to ${tmpdir()}`);
  const runtime = (await containerdRuntimes()).find((each) => each.version === version);
  if (runtime === undefined) throw new Error(`there is no containerd ${version}`);
  const { ownBytes = Number.NaN } = await runInject(runtime, program, await injectSet(base, shape));
  process.stdout.write(JSON.stringify({ ownBytes } satisfies WrittenAsOnNodes));
}

if (process.argv[2] === word) await inside(JSON.parse(process.argv[3] ?? ""));
