import type { Platform } from "./descriptor.ts";
import { OciError } from "./oci-error.ts";

const partPattern = /^[A-Za-z0-9_.-]+$/;

/** Parses `OS/ARCH[/VARIANT]` and normalises it. Throws `OciError` (invalid-platform). */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split("/");
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  if (
    os === undefined ||
    architecture === undefined ||
    rest.length > 0 ||
    !parts.every((part) => partPattern.test(part ?? ""))
  ) {
    throw new OciError(
      "invalid-platform",
      `"${text}" is no platform; write OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64`,
    );
  }
  return normalizePlatform({ os, architecture, ...(variant !== undefined && { variant }) });
}

/** Linux on the architecture this process runs on. */
export function hostPlatform(): Platform {
  const names: Record<string, string> = {
    x64: "amd64",
    ia32: "386",
    loong64: "loong64",
    ppc64: "ppc64le",
    mips: "mips",
    mipsel: "mipsle",
  };
  return normalizePlatform({ os: "linux", architecture: names[process.arch] ?? process.arch });
}

/**
 * One spelling for platforms that mean the same, by the rules of containerd's `platforms` package: other names of
 * architectures become Go's, 32-bit ARM is v7 by default, the first variant of amd64 is left out. The variant v8 of arm64,
 * which containerd leaves out, is written.
 */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase() === "macos" ? "darwin" : platform.os.toLowerCase();
  let architecture = platform.architecture.toLowerCase();
  let variant = platform.variant?.toLowerCase() || undefined;
  const alias = architectureAliases.get(architecture);
  if (alias) [architecture, variant = alias.variant] = [alias.architecture, variant];
  if (variant !== undefined && /^\d/.test(variant)) variant = `v${variant}`;
  if (architecture === "arm64") variant ??= "v8";
  if (architecture === "arm") variant ??= "v7";
  if (architecture === "amd64" && variant === "v1") variant = undefined;
  if (architecture === "386") variant = undefined;
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

const architectureAliases = new Map<string, { architecture: string; variant?: string }>([
  ["x86_64", { architecture: "amd64" }],
  ["x86-64", { architecture: "amd64" }],
  ["i386", { architecture: "386" }],
  ["aarch64", { architecture: "arm64" }],
  ["armhf", { architecture: "arm", variant: "v7" }],
  ["armel", { architecture: "arm", variant: "v6" }],
]);

/** `linux/arm64/v8`. */
export function formatPlatform(platform: Platform): string {
  return platformParts(platform).join("/");
}

/** For file names: `linux-arm64-v8`, `linux-amd64`. */
export function platformFileName(platform: Platform): string {
  return platformParts(normalizePlatform(platform)).join("-");
}

function platformParts({ os, architecture, variant }: Platform): string[] {
  return [os, architecture, ...(variant === undefined ? [] : [variant])];
}

/**
 * How well a machine of platform `wanted` is served by an image for `offered`: 0 is best, `undefined` not at all. The order is
 * that of containerd's `platforms.Only`: lower variants, then the 32-bit architecture of the same family.
 */
export function platformRank(wanted: Platform, offered: Platform): number | undefined {
  const normal = formatPlatform(normalizePlatform(offered));
  const rank = compatiblePlatforms(normalizePlatform(wanted)).findIndex((each) => formatPlatform(each) === normal);
  return rank < 0 ? undefined : rank;
}

function compatiblePlatforms(wanted: Platform): Platform[] {
  const { os, architecture, variant } = wanted;
  const lower = (name: string, from: number, to: number): Platform[] =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, index) =>
      normalizePlatform({ os, architecture: name, variant: `v${from - index}` }),
    );
  const version = /^v(\d{1,2})(?:\.\d+)?$/.exec(variant ?? "")?.[1];
  switch (architecture) {
    case "amd64":
      return [wanted, ...lower(architecture, Number(version ?? 1) - 1, 1), { os, architecture: "386" }];
    case "arm":
      return [wanted, ...lower(architecture, Number(version ?? 5) - 1, 5)];
    case "arm64": {
      const below = variant?.includes(".") ? Number(version) : Number(version ?? 8) - 1;
      return [wanted, ...lower(architecture, below, 8), ...lower("arm", 8, 5)];
    }
    default:
      return [wanted];
  }
}
