import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../bundle/compile.ts";

/**
 * What the image is made of besides the bundle: exact versions and their hashes, in `pins.json`, which
 * `npm run image -- --refresh-pins` writes.
 */

/** An architecture by its Debian and OCI name, and by those of npm packages and of folders for libraries. */
export const architectures = {
  amd64: { npm: "x64", triplet: "x86_64-linux-gnu" },
  arm64: { npm: "arm64", triplet: "aarch64-linux-gnu" },
} as const;

export type Architecture = keyof typeof architectures;

/** Of libc6, libstdc++6 and libgcc-s1 the libraries, of all the licences. */
export const debianPackages = ["base-files", "gcc-12-base", "libc6", "libgcc-s1", "libstdc++6"] as const;

export const debianSuite = "bookworm";

export const debianArchives = ["debian", "debian-security"] as const;

export type DebianArchive = (typeof debianArchives)[number];

export type DebianPin = {
  readonly name: string;
  readonly architecture: Architecture;
  readonly version: string;
  /** Name and version of the source package. */
  readonly source: { readonly name: string; readonly version: string };
  readonly archive: DebianArchive;
  /** Below the archive's root. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
};

export type NpmPin = {
  readonly name: string;
  readonly version: string;
  /** As in package-lock.json: `sha512-` and base64. */
  readonly integrity: string;
};

export type Pins = {
  /** When these versions were the newest, in the form of snapshot.debian.org: `20260102T030405Z`. */
  readonly snapshot: string;
  readonly debian: readonly DebianPin[];
  /** Node for each architecture. */
  readonly node: Readonly<Record<Architecture, NpmPin>>;
};

export const pinsFile = join(import.meta.dirname, "pins.json");

/** Throws when they are of another Node than the project's. */
export function readPins(): Pins {
  const pins: Pins = JSON.parse(readFileSync(pinsFile, "utf8"));
  const wanted = nodeVersion();
  for (const { name, version } of Object.values(pins.node)) {
    if (version !== wanted)
      throw new Error(
        `${pinsFile} has ${name} ${version}, .node-version says ${wanted}: run "npm run image -- --refresh-pins"`,
      );
  }
  return pins;
}

/** The Node of `.node-version`. */
export function nodeVersion(): string {
  return readFileSync(join(root, ".node-version"), "utf8").trim();
}

/** The package with koffi's library; its pin is that of package-lock.json. */
export function koffiPin(architecture: Architecture): NpmPin {
  const name = `@koromix/koffi-linux-${architectures[architecture].npm}`;
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const { version, integrity } = packages[`node_modules/${name}`];
  return { name, version, integrity };
}
