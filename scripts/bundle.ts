import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { compileProgram, root } from "./bundle/compile.ts";
import { bundledPackages, joinLicences } from "./bundle/packages.ts";
import { warmBundle } from "./bundle/warm.ts";

const usage = `npm run bundle [-- --out DIR]   makes the program as a folder of few files, which start faster; default dist
`;

const require = createRequire(import.meta.url);

/** Makes the bundle in `out`; what was there before is replaced. */
async function bundle(out: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const inputs = await compileProgram(out);
  copyFileSync(koffiLibrary(), join(out, "koffi.node"));
  const nodeLicences = addNode(out)
    ? [`Node.js ${process.version}\n\n${readFileSync(nodeLicence, "utf8").trim()}\n`]
    : [];
  writeFileSync(join(out, "nodewarm"), launcher(), { mode: 0o755 });
  copyFileSync(join(root, "LICENSE"), join(out, "LICENSE"));
  writeFileSync(join(out, "THIRD-PARTY-LICENSES"), joinLicences(bundledPackages(inputs), nodeLicences));
  await warmBundle(join(out, "nodewarm"));
}

/** The one that fits this machine: which koffi loads here. */
function koffiLibrary(): string {
  require("koffi");
  const path = Object.keys(require.cache).find((file) => file.endsWith("koffi.node"));
  if (path === undefined) throw new Error("koffi has loaded no library");
  return path;
}

/** Where this Node's licence lies beside it, it comes along; elsewhere the bundle needs a `node` on PATH. */
function addNode(out: string): boolean {
  if (!existsSync(nodeLicence)) return false;
  const to = join(out, "node");
  try {
    linkSync(process.execPath, to);
  } catch {
    copyFileSync(process.execPath, to);
  }
  return true;
}

const nodeLicence = join(dirname(process.execPath), "../LICENSE");

/** Starts no process on the way to Node, unless it is called through a symbolic link. */
function launcher(): string {
  return `#!/bin/sh
set -eu

self=$0
while [ -L "$self" ]; do
  target=$(readlink -- "$self")
  case $target in
    /*) self=$target ;;
    *) self=\${self%/*}/$target ;;
  esac
done
root=\${self%/*}
${readFileSync(join(root, "bin/settings.sh"), "utf8")}
node=$root/node
[ -x "$node" ] || node=node
# shellcheck disable=SC2086 # a list
case \${1-} in
  build) exec "$node" $node_options "$root/nodewarm-build.mjs" "$@" ;;
  *) exec "$node" $node_options "$root/nodewarm.mjs" "$@" ;;
esac
`;
}

const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
if (values.out === "") throw new Error(usage);
await bundle(resolve(values.out));
