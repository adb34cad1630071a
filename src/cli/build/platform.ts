import type { Platform } from "../../oci/descriptor.ts";
import { UsageError } from "../usage-error.ts";

/** `process.arch` in Go's words, which image indexes use. */
const goArchitectures: Readonly<Record<string, Omit<Platform, "os">>> = {
  x64: { architecture: "amd64" },
  ia32: { architecture: "386" },
  arm: { architecture: "arm", variant: "v7" },
  arm64: { architecture: "arm64" },
  ppc64: { architecture: "ppc64le" },
  s390x: { architecture: "s390x" },
  riscv64: { architecture: "riscv64" },
  loong64: { architecture: "loong64" },
};

/** Other words for an architecture, as `uname -m` has them. */
const aliases: Readonly<Record<string, string>> = { x86_64: "amd64", "x86-64": "amd64", aarch64: "arm64", i386: "386" };

/** Linux on the architecture of this machine. */
export function hostPlatform(processArchitecture: string = process.arch): Platform {
  return { os: "linux", ...(goArchitectures[processArchitecture] ?? { architecture: processArchitecture }) };
}

/** Reads `OS/ARCH[/VARIANT]`; throws `UsageError`. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length < 2 || parts.length > 3 || !parts.every((part) => /^[a-z0-9][a-z0-9_.-]*$/.test(part))) {
    throw new UsageError(`--platform "${text}": write OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64 or linux/arm/v7`);
  }
  const [os, architecture, variant] = parts;
  if (os !== "linux") throw new UsageError(`--platform "${text}": only linux images can be put on a disk`);
  return { os, architecture: aliases[architecture] ?? architecture, ...(variant !== undefined && { variant }) };
}

/** `linux/arm64/v8` */
export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

/** `path` with `{platform}` replaced, as in `disk-linux-arm64-v8.erofs`. */
export function pathForPlatform(path: string, platform: Platform): string {
  return path.replaceAll("{platform}", platformText(platform).replaceAll("/", "-"));
}
