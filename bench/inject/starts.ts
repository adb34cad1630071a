import type { TestRegistry } from "../../test/support/registry.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { dropPageCache } from "../measure/measured-run.ts";
import { run } from "../suite/command.ts";
import type { InjectSet } from "./image-set.ts";
import { namespace, startNode } from "./measured-node.ts";
import { loopReadBytes, readSince, registryName } from "./methods.ts";

/** Milliseconds of single container starts, each with a cold page cache. */
export type Starts = {
  readonly injected: { readonly echo: readonly number[]; readonly read: readonly number[] };
  readonly pulled: { readonly echo: readonly number[]; readonly read: readonly number[] };
  /** Bytes read of the disk, cold page cache, to start an image, and another on the same base after it: the same programs. */
  readonly diskReads: { readonly first: number; readonly second: number };
};

/** The first file of each layer: a tenth of the image. */
const readTenth = ["/bin/sh", "-c", "cat /data/*/0 | wc -c"];

/** Starts containers of the same image, injected and pulled in turn, in one containerd each. */
export async function measureStarts(
  runtime: ContainerdRuntime,
  program: string,
  registry: TestRegistry,
  set: InjectSet,
  rounds: number,
): Promise<Starts> {
  await using scope = new AsyncDisposableStack();
  const injected = await startNode(scope, runtime, set.disk);
  await run(program, ["inject", set.disk, "--runtime", "containerd", "--address", injected.address]);
  const pulled = await runtime.start(scope);
  const name = set.named[0]?.name ?? "";
  const remote = registryName(registry, name);
  await pulled.ctr("-n", namespace, "image", "pull", "--plain-http", remote);
  const start = async (daemon: typeof injected, image: string, command?: readonly string[]) => {
    await dropPageCache();
    const started = performance.now();
    await daemon.run({ image, namespace, ...(command && { command }) });
    return performance.now() - started;
  };
  const [other = ""] = set.named.slice(1).map((image) => image.name);
  const before = await loopReadBytes();
  await start(injected, name);
  const first = await readSince(before, set);
  const between = await loopReadBytes();
  await injected.run({ image: other, namespace });
  const second = await readSince(between, set);
  const result = { injected: { echo: [], read: [] }, pulled: { echo: [], read: [] } } as Record<
    "injected" | "pulled",
    { echo: number[]; read: number[] }
  >;
  for (let round = 0; round < rounds; round++) {
    result.injected.echo.push(await start(injected, name));
    result.pulled.echo.push(await start(pulled, remote));
    result.injected.read.push(await start(injected, name, readTenth));
    result.pulled.read.push(await start(pulled, remote, readTenth));
  }
  return { ...result, diskReads: { first, second } };
}
