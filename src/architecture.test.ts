import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { builtinModules } from "node:module";
import { basename, dirname, join, normalize } from "node:path";
import { test } from "node:test";

/** Packages from top to bottom: each may import those below it, never one above. */
const packages = [
  "cli",
  "agent",
  "controller",
  "publish",
  "peers",
  "kubernetes",
  "runtime",
  "disk",
  "filesystem",
  "layers",
  "oci",
];

const lineLimit = 400;

type SourceFile = { readonly path: string; readonly text: string };

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

async function sourceFiles(...patterns: string[]): Promise<SourceFile[]> {
  const paths: string[] = [];
  for await (const path of glob(patterns, { cwd: root })) paths.push(path);
  assert.ok(paths.length > 0, `no file matches ${patterns}`);
  return paths.sort().map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

/** Module names that a file imports or exports from; `typeOnly` ones are gone at run time. */
function importsOf(text: string): { from: string; typeOnly: boolean }[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?[^"';]*?\bfrom\s+"([^"]+)";/gm);
  const plain = text.matchAll(/^import\s+"([^"]+)";/gm);
  const dynamic = text.matchAll(/\bimport\("([^"]+)"\)/g);
  return [
    ...[...statements].map((match) => ({ from: match[2] ?? "", typeOnly: match[1] !== undefined })),
    ...[...plain, ...dynamic].map((match) => ({ from: match[1] ?? "", typeOnly: false })),
  ];
}

function packageOf(path: string): string {
  return path.split("/")[1] ?? "";
}

/** The package that a module is part of: `zod/v4` is part of `zod`, `@scope/name/part` of `@scope/name`. */
function dependencyOf(module: string): string {
  return module.split("/", module.startsWith("@") ? 2 : 1).join("/");
}

const isTest = (path: string): boolean => path.endsWith(".test.ts");

test("packages import only those below them", async () => {
  const wrong: string[] = [];
  for (const { path, text } of await sourceFiles("src/*/**/*.ts")) {
    const rank = packages.indexOf(packageOf(path));
    assert.notEqual(rank, -1, `${path} is in a folder that the list of packages does not know`);
    if (isTest(path)) continue;
    for (const { from } of importsOf(text)) {
      if (!from.startsWith(".")) continue;
      const target = normalize(join(dirname(path), from));
      const outside = !target.startsWith("src/");
      if (outside || packages.indexOf(packageOf(target)) < rank) wrong.push(`${path} imports ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("imports of programs name declared dependencies or Node's own modules, with `node:`", async () => {
  const declared = new Set(Object.keys(manifest.dependencies));
  const wrong: string[] = [];
  for (const { path, text } of await sourceFiles("src/**/*.ts")) {
    if (isTest(path)) continue;
    for (const { from } of importsOf(text)) {
      if (from.startsWith(".") || declared.has(dependencyOf(from))) continue;
      if (!from.startsWith("node:") || !builtinModules.includes(from.slice("node:".length))) {
        wrong.push(`${path} imports ${from}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test("no module imports itself in a circle", async () => {
  const files = await sourceFiles("src/**/*.ts");
  const edges = new Map<string, string[]>();
  for (const { path, text } of files) {
    const targets = importsOf(text).filter(({ from, typeOnly }) => from.startsWith(".") && !typeOnly);
    edges.set(
      path,
      targets.map(({ from }) => normalize(join(dirname(path), from))),
    );
  }
  const done = new Set<string>();
  const visit = (path: string, above: readonly string[]): void => {
    assert.ok(!above.includes(path), `circle: ${[...above.slice(above.indexOf(path)), path].join(" > ")}`);
    if (done.has(path)) return;
    for (const target of edges.get(path) ?? []) visit(target, [...above, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
});

test(`no file has more than ${lineLimit} lines`, async () => {
  const files = await sourceFiles("{src,test,bench,scripts}/**/*.{ts,sh}", "bin/*", ".ci/*");
  const long = files.map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }));
  assert.deepEqual(
    long.filter(({ lines }) => lines > lineLimit),
    [],
  );
});

test("files are named for one concept, in kebab case", async () => {
  const vague = /^(utils?|helpers?|misc|common|shared|stuff)\b/;
  const files = await sourceFiles("{src,test,bench,scripts}/**/*.ts");
  const wrong = files
    .map(({ path }) => path)
    .filter((path) => {
      const name = basename(path);
      return vague.test(name) || !/^[a-z0-9]+([-.][a-z0-9]+)*\.ts$/.test(name);
    });
  assert.deepEqual(wrong, []);
});

test("sources hold no loose ends and nothing that switches checks off without a reason", async () => {
  // Put together here so that this file passes its own test.
  const words = [
    ["TO", "DO"],
    ["FIX", "ME"],
    ["X", "XX"],
    ["HA", "CK"],
  ].map((parts) => parts.join(""));
  const forbidden = [
    new RegExp(`\\b(${words.join("|")})\\b`),
    new RegExp(`@ts-(${["ignore", "nocheck", "expect-error"].join("|")})`),
    new RegExp(`biome-${"ignore"}(-\\w+)?(?! lint\\/\\S+: \\S)`),
    new RegExp(`\\.${"only"}\\(`),
    new RegExp(`(^|[\\s"'\`(])\\/${"work"}\\/`),
  ];
  const wrong: string[] = [];
  for (const { path, text } of await sourceFiles("{src,test,bench,scripts}/**/*.{ts,sh}", "bin/*", "docs/*.md")) {
    text.split("\n").forEach((line, index) => {
      if (forbidden.some((pattern) => pattern.test(line))) wrong.push(`${path}:${index + 1}: ${line.trim()}`);
    });
  }
  assert.deepEqual(wrong, []);
});

test("every dependency is pinned, and the lock file knows those of all platforms", () => {
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(String(version))),
    [],
  );
  const lock: Record<string, { optionalDependencies?: Record<string, string> }> = JSON.parse(
    readFileSync(join(root, "package-lock.json"), "utf8"),
  ).packages;
  const missing = Object.values(lock)
    .flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    .filter((name) => lock[`node_modules/${name}`] === undefined);
  // `npm ci` fails without them; a registry that lacks a platform's package makes npm leave it out.
  assert.deepEqual(missing, []);
});
