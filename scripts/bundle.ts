import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { warmBundle } from "./bundle/warm.ts";

const usage = `npm run bundle [-- --out DIR]   makes the program as a folder of few files, which start faster; default dist
`;

const root = join(import.meta.dirname, "..");
const require = createRequire(import.meta.url);

const entryPoints = {
  nodewarm: "src/cli/main.ts",
  // Threads, which look for their file beside the one that starts them.
  "layer-worker": "src/disk/build/layers/layer-worker.ts",
  "copy-worker": "src/disk/build/old-disk/copy-worker.ts",
  "hash-worker": "src/runtime/containerd/fetch/hash-worker.ts",
  "mount-namespace-worker": "src/runtime/host/mount-namespace-worker.ts",
  "verification-worker": "src/agent/disks/verification-worker.ts",
};

/** Makes the bundle in `out`; what was there before is replaced. */
async function bundle(out: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const result = await build({
    absWorkingDir: root,
    entryPoints,
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    // Names stay: they show in messages about errors that nobody expected.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    metafile: true,
    plugins: [builtins, nativeKoffi],
    // For packages in CommonJS.
    banner: { js: 'const require=process.getBuiltinModule("node:module").createRequire(import.meta.url);' },
  });
  copyFileSync(koffiLibrary(), join(out, "koffi.node"));
  const hasNode = addNode(out);
  writeFileSync(join(out, "nodewarm"), launcher(), { mode: 0o755 });
  copyFileSync(join(root, "LICENSE"), join(out, "LICENSE"));
  writeFileSync(join(out, "THIRD-PARTY-LICENSES"), licences(Object.keys(result.metafile.inputs), hasNode));
  await warmBundle(join(out, "nodewarm"));
}

/**
 * Node's own modules are fetched where they are used, not all at the start. An import statement would also touch each export, and so load
 * what `node:http` and others keep for later (30 ms).
 */
const builtins: Plugin = {
  name: "builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports=process.getBuiltinModule(${JSON.stringify(path)})`,
    }));
  },
};

/** Its JavaScript looks for the library in `node_modules`; the bundle has it beside itself. */
const nativeKoffi: Plugin = {
  name: "native-koffi",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, () => ({ path: "koffi", namespace: "native" }));
    onLoad({ filter: /^koffi$/, namespace: "native" }, () => ({
      contents: 'export default process.getBuiltinModule("node:module").createRequire(import.meta.url)("./koffi.node")',
    }));
  },
};

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
exec "$node" $node_options "$root/nodewarm.mjs" "$@"
`;
}

/** Of everything that is in the bundle but not of this project. */
function licences(inputs: readonly string[], hasNode: boolean): string {
  const found = inputs.flatMap((input) => /^(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []);
  const folders = [...new Set([...found, "node_modules/koffi"])].sort();
  const texts = folders.map((folder) => {
    const path = join(root, folder);
    const { name, version, license } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    const file = readdirSync(path).find((each) => /^licen[cs]e/i.test(each));
    const text =
      file === undefined ? licenceInSources(folder, inputs, license) : readFileSync(join(path, file), "utf8").trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  if (hasNode) texts.push(`Node.js ${process.version}\n\n${readFileSync(nodeLicence, "utf8").trim()}\n`);
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

/** For packages that have their licence at the head of their files alone: each such text once. Apache's own lies beside the bundle. */
function licenceInSources(folder: string, inputs: readonly string[], license: string): string {
  if (!license.includes("Apache-2.0")) throw new Error(`${folder} has no file with its licence`);
  const heads = inputs
    .filter((input) => input.startsWith(`${folder}/`))
    .map((input) => /^(?:\/\/.*\n)+/.exec(readFileSync(join(root, input), "utf8"))?.[0] ?? "")
    .filter((head) => /copyright/i.test(head));
  if (heads.length === 0) throw new Error(`the files of ${folder} name no licence`);
  return `${[...new Set(heads)].join("\n")}\nThe Apache License, Version 2.0, is in the file LICENSE.`;
}

const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
if (values.out === "") throw new Error(usage);
await bundle(resolve(values.out));
