import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startFaultRegistry } from "../../test/support/fault-registry.ts";
import { makeImage } from "../../test/support/image-maker.ts";
import { run } from "../../test/support/processes.ts";
import { file, directory as folder, hardLink, symbolicLink, tar, whiteout } from "../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";

/** Above what builds read without threads. */
const threadsBytes = 36 << 20;

/**
 * Runs each command once, so that the bundle's cache of compiled code has what they need: V8 keeps the functions that the first
 * run of a file has called. Images come from a registry on loopback.
 */
export async function warmBundle(program: string): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const directory = await temporaryDirectory(scope, "warm");
  const layout = join(directory, "layout");
  await mkdir(layout);
  const platform = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
  const image = async (...tars: readonly Uint8Array[]) =>
    (await makeImage(layout, { layers: tars.map((tar) => ({ tar })), platform })).manifest;
  const text = Buffer.from("text".repeat(50_000));
  const small = await image(
    tar(
      file("text", text),
      folder("folder"),
      file("folder/a", "a"),
      symbolicLink("folder/b", "a"),
      hardLink("folder/c", "folder/a"),
    ),
    tar(file("random", randomBytes(6 << 20)), file("random-too", randomBytes(100_000)), whiteout("folder/b")),
  );
  const large = await image(tar(file("large", randomBytes(threadsBytes))), tar(file("text", text)));
  const tags = { "warm/small:1": small, "warm/large:1": large };
  const registry = await startFaultRegistry({ layoutDirectory: layout, tags });
  scope.defer(() => registry.stop());
  const disk = join(directory, "disk.erofs");
  const env = { HOME: directory };
  for (const name of ["small", "large"])
    await run(program, ["build", `${registry.host}/warm/${name}:1`, "-o", disk, "--progress", "none"], { env });
  await run(program, ["inspect", disk], { env });
  // As far as it goes without a runtime.
  await run(program, ["inject", disk, "--address", join(directory, "none")], { env }).catch(() => {});
}
