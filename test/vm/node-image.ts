import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { seedRoot } from "../../src/publish/seed/seed-root.ts";
import { enablingLink, type NodeFile } from "../../src/publish/seed/units.ts";
import { root as checkout } from "../support/cli.ts";
import { run } from "../support/processes.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";
import { debianRoot, makeRootImage } from "./debian-root.ts";
import { shellUnit } from "./machine.ts";

export type NodeImageOptions = {
  /** Put into the node as `nodewarm seed` does. */
  readonly disks: readonly string[];
  readonly program: string;
  readonly configuration?: readonly NodeFile[];
  /** Whatever else the node is to have. */
  readonly files?: readonly NodeFile[];
  /** Default: as `nodewarm seed` leaves it. */
  readonly isAgentEnabled?: boolean;
  /** Links to enable units, by path. */
  readonly links?: readonly { readonly path: string; readonly target: string }[];
};

/** The program as it is installed on nodes. */
export async function makeProgram(scope: Scope): Promise<string> {
  const program = join(await temporaryDirectory(scope, "program"), "bundle");
  await run(process.execPath, [join(checkout, "scripts/bundle.ts"), "--out", program]);
  return program;
}

/** The disk of a machine that is a seeded node: Debian with systemd and containerd, and a shell for the tests. */
export async function makeNodeImage(scope: Scope, options: NodeImageOptions): Promise<string> {
  return makeRootImage(scope, await debianRoot(), async (root) => {
    const { disks, program, configuration = [], files = [], links = [] } = options;
    await seedRoot({ root, disks, program, configuration, signal: AbortSignal.timeout(300_000) });
    if (options.isAgentEnabled === false) await rm(join(root, enablingLink.path));
    for (const { path, text } of [shellUnit, ...files]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    for (const { path, target } of [
      { path: shellUnit.link, target: `../${shellUnit.path.split("/").pop()}` },
      ...links,
    ]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await symlink(target, join(root, path));
    }
  });
}
