import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerdRuntimes } from "../../test/support/runtimes/fleet.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { run } from "../suite/command.ts";
import { injectSet } from "./image-set.ts";
import { runInject } from "./methods.ts";

/**
 * One injection where files lie as they do on nodes: those of containerd on a file system with a journal, /run in memory. Without a journal the
 * kernel counts metadata as written by whoever changes it, and not by the journal's thread.
 */
export type WrittenAsOnNodes = {
  /** By the program. */
  readonly ownBytes: number;
};

const imageBytes = 40e9;
const word = "--injection";

/** In a mount namespace of its own, which takes all mounts with it. `base`: folder of the sets. */
export async function writtenAsOnNodes(
  version: string,
  program: string,
  base: string,
  { images, layers, bytes }: { readonly images: number; readonly layers: number; readonly bytes: number },
): Promise<WrittenAsOnNodes> {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "as-on-nodes");
  const facts = JSON.stringify({ version, program, base, shape: { images, layers, bytes }, work });
  const node = [process.execPath, import.meta.filename, word, facts];
  return JSON.parse(await run("unshare", ["--mount", "--propagation", "private", ...node]));
}

async function inside(facts: string): Promise<void> {
  const { version, program, base, shape, work } = JSON.parse(facts);
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

if (process.argv[2] === word) await inside(process.argv[3] ?? "");
