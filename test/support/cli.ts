import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { DiskReport } from "../../src/cli/build/summary.ts";
import { type MadeImage, makeImage, tagInLayout } from "./image-maker.ts";
import { directory, file, symbolicLink, tar } from "./tar-maker.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** Runs the command line program as a child, as users do. */

export const root = join(import.meta.dirname, "../..");
export const main = join(root, "src/cli/main.ts");
export const host = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch } as const;

export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export type CliOptions = {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input. */
  readonly input?: string;
};

/** `command` runs the program; it may be another user or a terminal that does. */
export function start(args: readonly string[], options: CliOptions, command = [process.execPath, main]): ChildProcess {
  const [program = "", ...first] = [...command, ...args];
  const { PATH, NODE_COMPILE_CACHE = "" } = process.env;
  const env = { PATH, NODE_COMPILE_CACHE, HOME: options.cwd, ...options.env };
  return spawn(program, first, { cwd: options.cwd, env, stdio: ["pipe", "pipe", "pipe"] });
}

export async function finish(child: ChildProcess, input = ""): Promise<CliResult> {
  const texts = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => {
    texts.stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    texts.stderr += chunk;
  });
  child.stdin?.on("error", () => {}).end(input);
  const [code] = await once(child, "close");
  return { code, ...texts };
}

export async function nodewarm(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return finish(start(args, options), options.input);
}

/** As `nodewarm`, for runs that must succeed. */
export async function succeed(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const result = await nodewarm(args, options);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

export function disksOf({ stdout }: CliResult): readonly DiskReport[] {
  return (JSON.parse(stdout) as { disks: DiskReport[] }).disks;
}

export type CliImages = {
  /** OCI layout with the tags `web` and `api`. */
  readonly layout: string;
  readonly web: MadeImage;
  readonly api: MadeImage;
};

/** Fills blocks, and is in two layers. */
export const bigContent = randomBytes(300_000);

/** Two images of two layers each; the first is the same. */
export async function makeCliImages(scope: Scope): Promise<CliImages> {
  const layout = join(await temporaryDirectory(scope, "cli"), "layout");
  await mkdir(layout);
  const base = tar(
    directory("etc/"),
    file("etc/os-release", "NAME=test\n"),
    directory("bin/"),
    file("bin/tool", bigContent),
  );
  const site = tar(
    directory("srv/"),
    file("srv/index.html", "<h1>hello</h1>\n"),
    symbolicLink("srv/current", "index.html"),
  );
  const app = tar(
    directory("srv/"),
    file("srv/app", "#!/bin/tool\n", { mode: 0o755 }),
    file("srv/copy-of-tool", bigContent),
  );
  const made = (layer: Uint8Array, created: string) =>
    makeImage(layout, { layers: [{ tar: base }, { tar: layer }], platform: host, created });
  const web = await made(site, "2026-01-02T03:04:05Z");
  const api = await made(app, "2026-01-01T00:00:00Z");
  await tagInLayout(layout, web.manifest, "web");
  await tagInLayout(layout, api.manifest, "api");
  return { layout, web, api };
}
