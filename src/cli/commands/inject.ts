import type { Runtime } from "../../runtime/runtime.ts";
import type { CommandIo } from "../command.ts";
import { type InjectArguments, parseInjectArguments } from "../inject/arguments.ts";
import { chooseImages, type DiskChoice } from "../inject/image-choice.ts";
import { createInjectProgress } from "../inject/inject-progress.ts";
import { describeInjection, type InjectedDisk } from "../inject/inject-report.ts";
import { openDisks } from "../inject/open-disks.ts";
import { requireRoot } from "../require-root.ts";
import { agentHelp, runtimeHelp } from "../runtimes/choice.ts";
import { inEach, openRuntimes, outcomeJson, throwFailures } from "../runtimes/open-runtimes.ts";

const help = `Usage: nodewarm inject DISK... [OPTION...]

Makes the images of disks usable in the running container runtime, under their names and digests, without copying anything and
without a restart. DISK is a file or a block device. Needs root. Injecting again completes what is missing and changes nothing else.

What:
      --image REF           only this image; may be repeated (default: all of the disk)
      --verify quick|full   full reads every byte of the disk first (default: quick, what injection reads)
      --handlers all|default-only
                            default-only: also images without layer blobs on nodes where another runtime handler uses another
                            snapshotter, which cannot start them (default: all)
      --force               also move tags that the node has with other digests
      --no-wait             return when all images are usable; the layers below them, which later pulls of other images find,
                            are left to the next run

${runtimeHelp}${agentHelp}
      --json                one JSON object on standard output
  -h, --help                this text

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted: the next run completes what was begun.
`;

/** `nodewarm inject`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const given = parseInjectArguments(args);
  if (given === undefined) {
    io.stdout.write(help);
    return 0;
  }
  requireRoot("inject", "mounts disks and changes the runtime's files");
  await using opened = await openDisks(given.disks);
  const choices = chooseImages(opened.disks, given.images);
  for (const choice of choices) await verify(choice, given, io);
  // Modules are loaded while the runtime answers.
  setImmediate(loadInjection);
  await using runtimes = await openRuntimes({ ...given, signal: io.signal });
  const outcomes = await inEach(runtimes, io.signal, async (runtime) => {
    const disks: InjectedDisk[] = [];
    for (const choice of choices) disks.push(await injectOne(runtime, choice, given, io));
    return { disks };
  });
  if (given.json) {
    const runtimes = outcomes.map((outcome) =>
      outcomeJson(
        "error" in outcome
          ? outcome
          : { ...outcome, result: { disks: outcome.result.disks.map(({ path, report }) => ({ path, ...report })) } },
      ),
    );
    io.stdout.write(`${JSON.stringify({ runtimes }, undefined, 2)}\n`);
  } else {
    const texts = outcomes.flatMap((each) =>
      "error" in each ? [] : [describeInjection(each.runtime, each.result.disks)],
    );
    io.stdout.write(texts.join("\n"));
  }
  throwFailures(outcomes);
  return 0;
}

/** Before any runtime is asked: a disk that is broken is refused first, and the runtime's locks are not held for it. */
async function verify({ open, images }: DiskChoice, given: InjectArguments, io: CommandIo): Promise<void> {
  if (given.verify === "full") {
    const { verifyFully } = await import("../inject/verify-fully.ts");
    await verifyFully(open, io);
  }
  const [{ documentsOf }, { wantedImages }] = await Promise.all([
    import("../../runtime/containerd/inject/disk-documents.ts"),
    import("../../runtime/containerd/inject/fitness.ts"),
  ]);
  await documentsOf(open.disk).verify(wantedImages(open, images), io.signal);
}

/** What nearly every injection needs, ahead of it: whoever needs it says what is wrong with it. */
function loadInjection(): void {
  import("../../runtime/containerd/inject/inject-disk.ts").catch(() => {});
}

async function injectOne(
  runtime: Runtime,
  { open, images }: DiskChoice,
  given: InjectArguments,
  io: CommandIo,
): Promise<InjectedDisk> {
  const { path } = open.source;
  const total = images?.length ?? open.disk.index.images.length;
  const progress = createInjectProgress(io.stderr, io.env, { disk: path, runtime: runtime.name, images: total });
  try {
    const report = await runtime.inject(open, {
      ...(images && { images }),
      handlers: given.handlers,
      force: given.force,
      chains: given.wait,
      signal: io.signal,
      onEvent: (event) => progress.event(event),
    });
    return { path, report };
  } finally {
    progress.close();
  }
}
