import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startFaultRegistry } from "../../test/support/fault-registry.ts";
import { makeImage } from "../../test/support/image-maker.ts";
import { run } from "../../test/support/processes.ts";
import { file, tar } from "../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";

/**
 * Runs each command once, so that the bundle's cache of compiled code has what they need: V8 keeps the functions that a first
 * run has called. An image comes from a registry on loopback.
 */
export async function warmBundle(program: string): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const directory = await temporaryDirectory(scope, "warm");
  const layout = join(directory, "layout");
  await mkdir(layout);
  const layers = ["a", "b"].map((name) => ({ tar: tar(file(name, name.repeat(100_000))) }));
  const platform = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
  const image = await makeImage(layout, { layers, platform });
  const registry = await startFaultRegistry({ layoutDirectory: layout, tags: { "warm/up:1": image.manifest } });
  scope.defer(() => registry.stop());
  const disk = join(directory, "disk.erofs");
  const env = { HOME: directory };
  await run(program, ["build", `${registry.host}/warm/up:1`, "-o", disk, "--progress", "none"], { env });
  await run(program, ["inspect", disk], { env });
  // As far as it goes without a runtime.
  await run(program, ["inject", disk, "--address", join(directory, "none")], { env }).catch(() => {});
}
