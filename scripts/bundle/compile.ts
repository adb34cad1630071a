import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

/** Folder of the sources. */
export const root = join(import.meta.dirname, "../..");

/**
 * A file each for threads, which look for it beside the one that starts them. Were they in `nodewarm.mjs` too, each thread would hold all of it:
 * 28 MB instead of 20, and 20 ms more to start.
 */
const entryPoints = {
  nodewarm: "src/cli/main.ts",
  "layer-worker": "src/disk/build/layers/layer-worker.ts",
  "copy-worker": "src/disk/build/old-disk/copy-worker.ts",
  "hash-worker": "src/runtime/containerd/fetch/hash-worker.ts",
  "mount-namespace-worker": "src/runtime/host/mount-namespace-worker.ts",
  "verification-worker": "src/agent/disks/verification-worker.ts",
  "fresh-read-child": "src/runtime/host/fresh-read-child.ts",
  "look-child": "src/agent/disks/look-child.ts",
};

/** Names of the files that `compileProgram` makes. */
export const programFiles = Object.keys(entryPoints).map((name) => `${name}.mjs`);

/** Makes the program's files in the folder `out`: the same bytes each time. They want koffi's library as `koffi.node` beside them. The sources in them. */
export async function compileProgram(out: string): Promise<readonly string[]> {
  const { metafile } = await build({
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
    plugins: [builtins, nativeKoffi, englishOnly],
    // For packages in CommonJS.
    banner: { js: 'const require=process.getBuiltinModule("node:module").createRequire(import.meta.url);' },
  });
  for (const output of Object.keys(metafile.outputs)) checkIsAscii(join(root, output));
  return Object.keys(metafile.inputs);
}

/** V8 holds a source in twice the memory when one character does not fit into a byte. */
function checkIsAscii(path: string): void {
  const text = readFileSync(path, "utf8");
  const at = text.search(/[\u0080-\uffff]/);
  if (at >= 0)
    throw new Error(`${path}: escape what is not ASCII: ${JSON.stringify(text.slice(Math.max(0, at - 40), at + 40))}`);
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

/** zod's messages in English are enough: those in all languages were a fifth of the bundle. */
const englishOnly: Plugin = {
  name: "english-only",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js"',
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
