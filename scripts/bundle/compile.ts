import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";

/** Folder of the sources. */
export const root = join(import.meta.dirname, "../..");

/**
 * A file each for threads and for child processes, which is looked for beside the one that starts them. Were they in `nodewarm.mjs` too, each thread would hold all of it:
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

/** The program with the one command `build`: that runs for some 100 ms, and half of them went into loading what all others need. */
const buildEntryPoint = { "nodewarm-build": "src/cli/main.ts" };

/** Packages that few builds need, in files of their own beside `nodewarm-build.mjs`: more than half of it otherwise. */
const packageEntryPoints = { zod: "zod", yaml: "yaml", "smol-toml": "smol-toml" };

/** Names of the files that `compileProgram` makes, without those that are for builds alone: `nodewarm.mjs` builds as well. */
export const programFiles = Object.keys(entryPoints).map((name) => `${name}.mjs`);

/** Makes the program's files in the folder `out`: the same bytes each time. They want koffi's library as `koffi.node` beside them. The sources in them. */
export async function compileProgram(out: string): Promise<readonly string[]> {
  const inputs = new Set<string>();
  for (const metafile of [
    await compile(out, { entryPoints }),
    await compile(out, { entryPoints: buildEntryPoint, plugins: [buildAlone, packagesBeside] }),
    await compile(out, { entryPoints: packageEntryPoints, format: "cjs" }),
  ]) {
    for (const output of Object.keys(metafile.outputs)) checkIsAscii(join(root, output));
    for (const input of Object.keys(metafile.inputs)) inputs.add(input);
  }
  return [...inputs];
}

type Compilation = {
  readonly entryPoints: Record<string, string>;
  readonly format?: "esm" | "cjs";
  readonly plugins?: readonly Plugin[];
};

async function compile(out: string, { entryPoints, format = "esm", plugins = [] }: Compilation): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints,
    outdir: out,
    outExtension: { ".js": format === "esm" ? ".mjs" : ".cjs" },
    bundle: true,
    format,
    platform: "node",
    target: "node24",
    // Names stay: they show in messages about errors that nobody expected.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    metafile: true,
    plugins: [...plugins, builtins, nativeKoffi, englishOnly],
    // For packages in CommonJS.
    ...(format === "esm" && { banner: { js: requireBanner } }),
  });
  return metafile;
}

/** Where it is used, which most runs do not. */
const requireBanner = 'const require=(id)=>process.getBuiltinModule("node:module").createRequire(import.meta.url)(id);';

/** V8 holds a source in twice the memory when one character does not fit into a byte. */
function checkIsAscii(path: string): void {
  const text = readFileSync(path, "utf8");
  const at = text.search(/[\u0080-\uffff]/);
  if (at >= 0)
    throw new Error(`${path}: escape what is not ASCII: ${JSON.stringify(text.slice(Math.max(0, at - 40), at + 40))}`);
}

/**
 * Node's own modules are fetched where they are used, not all at the start. An import statement would also touch each export, and so load
 * what `node:http` and others keep for later (30 ms). So would the copy of all properties that esbuild makes; an object that inherits them has none.
 */
const builtins: Plugin = {
  name: "builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports=Object.create(process.getBuiltinModule(${JSON.stringify(path)}))`,
    }));
  },
};

/** Leaves all commands but `build` out. */
const buildAlone: Plugin = {
  name: "build-alone",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/commands\// }, ({ path }) =>
      path.endsWith("/build.ts") ? undefined : { path, namespace: "left-out" },
    );
    onLoad({ filter: /./, namespace: "left-out" }, ({ path }) => ({
      contents: `export function run() { throw new Error(${JSON.stringify(`${path} is not in this file`)}); }`,
    }));
  },
};

/** Loaded when they are first used. */
const packagesBeside: Plugin = {
  name: "packages-beside",
  setup({ onResolve, onLoad }) {
    for (const name of Object.keys(packageEntryPoints)) {
      const namespace = `beside-${name}`;
      onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path: name, namespace }));
      onResolve({ filter: /./, namespace }, ({ path }) => ({ path, external: true }));
      onLoad({ filter: /./, namespace }, () => ({ contents: `module.exports=require("./${name}.cjs")` }));
    }
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
