import { readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { programFiles, root } from "../bundle/compile.ts";
import { readElf } from "./elf.ts";
import type { Parts } from "./fetch-parts.ts";
import { type Architecture, architectures, debianPackages } from "./pins.ts";
import type { TarEntry } from "./tar-writer.ts";

/** Where the program lies in the image. */
export const programFolder = "usr/lib/nodewarm";

const mainFile = "nodewarm.mjs";

/** What the image's parts hold; each becomes a layer, those that change rarely first. */
export type Contents = { readonly debian: TarEntry[]; readonly node: TarEntry[]; readonly nodewarm: TarEntry[] };

/** Folder with the files of `compileProgram`, and the licences of the packages in them. */
export type Program = { readonly folder: string; readonly licences: string };

/** All files of the image: of the C libraries those that Node and koffi load, no shell and no other program. */
export function imageContents(architecture: Architecture, parts: Parts, program: Program): Contents {
  const node = readFileSync(join(parts.node, "bin/node"));
  const koffi = readFileSync(koffiLibrary(architecture, parts.koffi));
  return {
    debian: [...libraries(architecture, parts.debian, [node, koffi]), ...settings(), ...records(parts)],
    node: [file("usr/bin/node", node, 0o755), copy(join(parts.node, "LICENSE"), "usr/share/doc/nodejs/LICENSE")],
    nodewarm: [
      ...programFiles.map((name) => programFile(program.folder, name)),
      file(`${programFolder}/koffi.node`, koffi),
      // For `exec` in a running container: its entrypoint is not at hand there, and a shell neither.
      { path: "usr/bin/nodewarm", mode: 0o777, target: `../lib/nodewarm/${mainFile}` },
      copy(join(root, "LICENSE"), "usr/share/doc/nodewarm/LICENSE"),
      file("usr/share/doc/nodewarm/THIRD-PARTY-LICENSES", program.licences),
    ],
  };
}

/** The main one can be executed: a line says with what. */
function programFile(folder: string, name: string): TarEntry {
  const path = `${programFolder}/${name}`;
  if (name !== mainFile) return copy(join(folder, name), path);
  const first = Buffer.from("#!/usr/bin/node\n");
  return file(path, Buffer.concat([first, readFileSync(join(folder, name))]), 0o755);
}

function koffiLibrary(architecture: Architecture, folder: string): string {
  return join(folder, `linux_${architectures[architecture].npm}`, "koffi.node");
}

/** The loader and the libraries that `programs` need, and those that these need, at Debian's places. */
function libraries(architecture: Architecture, folder: string, programs: readonly Buffer[]): TarEntry[] {
  const { triplet } = architectures[architecture];
  const found = new Map<string, TarEntry>();
  const visit = (from: Buffer): void => {
    for (const name of readElf(from).libraries) {
      if (found.has(name)) continue;
      const entry = library(folder, [`lib/${triplet}`, `usr/lib/${triplet}`], name);
      found.set(name, entry);
      visit(entry.content);
    }
  };
  for (const program of programs) visit(program);
  const interpreters = new Set(programs.flatMap((program) => readElf(program).interpreter ?? []));
  const links = [...interpreters].map((path) => {
    const target = readlinkSync(join(folder, path));
    if (!found.has(basename(target))) throw new Error(`${path} is ${target}, which no library names`);
    return { path: path.slice(1), mode: 0o777, target };
  });
  return [...found.values(), ...links];
}

function library(folder: string, places: readonly string[], name: string): TarEntry & { readonly content: Buffer } {
  for (const place of places) {
    try {
      // The file itself where the name is a link to one with a longer version.
      return { path: `${place}/${name}`, mode: 0o755, content: readFileSync(join(folder, place, name)) };
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new Error(`none of the Debian packages has ${name}; name its package in scripts/image/pins.ts`);
}

/** What C libraries ask files for: the name of root, and where names of hosts come from. */
function settings(): TarEntry[] {
  return [
    file("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n"),
    file("etc/group", "root:x:0:\n"),
    file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    { path: "root", mode: 0o700, isFolder: true },
    { path: "tmp", mode: 0o1777, isFolder: true },
  ];
}

/** Licences of the Debian packages, and what scanners for known holes look at: the release, and each package's control record. */
function records({ debian, controls }: Parts): TarEntry[] {
  const copyrights = new Map<string, TarEntry>();
  for (const name of debianPackages) {
    const path = `usr/share/doc/${name}/copyright`;
    // Packages of one source share a folder by a link.
    copyrights.set(name, copy(join(debian, path), path));
  }
  const texts = [...copyrights.values()].map((entry) => ("content" in entry ? Buffer.from(entry.content) : ""));
  const named = texts.flatMap((text) => text.toString().match(/\/usr\/share\/common-licenses\/[\w.-]*\w/g) ?? []);
  const common = [...new Set(named)].sort().map((path) => copy(join(debian, path), path.slice(1)));
  return [
    copy(join(debian, "usr/lib/os-release"), "usr/lib/os-release"),
    { path: "etc/os-release", mode: 0o777, target: "../usr/lib/os-release" },
    ...copyrights.values(),
    ...common,
    ...[...controls].map(([name, record]) => file(`var/lib/dpkg/status.d/${name}`, record)),
  ];
}

function file(path: string, content: string | Uint8Array, mode = 0o644): TarEntry {
  return { path, mode, content: typeof content === "string" ? Buffer.from(content) : content };
}

function copy(from: string, path: string): TarEntry {
  return file(path, readFileSync(from));
}
