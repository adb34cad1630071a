import type { Limit } from "../oci/limit.ts";
import { oneLine } from "./harmless.ts";

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** `512 B`, `27.3 MiB`, `1.05 GiB`: three digits that count. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)} ${byteUnits[unit]}`;
}

/** `0.42 s`, `12.3 s`, `3m07s`, `1h02m`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 99.95) return `${seconds < 9.995 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  return formatClock(seconds);
}

/** Whole seconds of a remaining time: `7s`, `3m07s`, `1h02m`, `2d03h`. */
export function formatClock(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${twoDigits(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${twoDigits(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d${twoDigits(Math.floor((whole % 86_400) / 3600))}h`;
}

/** `12,345`; `1 layer`, `2 layers` with a noun. */
export function formatCount(count: number, noun?: string): string {
  const digits = String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  return noun === undefined ? digits : `${digits} ${noun}${count === 1 ? "" : "s"}`;
}

/** The first digits of a digest, enough to find it again: `sha256:0f1e2d3c4b5a`. */
export function shortDigest(digest: string): string {
  return digest.slice(0, "sha256:".length + 12);
}

/** What tells images apart, on one line: without the default registry's words, without most of a digest. */
export function shortImage(image: string): string {
  return oneLine(image)
    .replace(/^docker\.io\/(library\/)?/, "")
    .replace(/sha256:([0-9a-f]{12})[0-9a-f]*$/, "sha256:$1");
}

/** The value of a limit with its unit. */
export function formatLimit(value: number, unit: Limit["unit"]): string {
  switch (unit) {
    case "bytes":
      return wholeBinary(value);
    case "count":
      return formatCount(value);
    case "seconds":
      return `${value} s`;
    case "ratio":
      return `${value}×`;
  }
}

/** As `--limit` takes it, without rounding: `4Mi`, `1500`. */
function wholeBinary(bytes: number): string {
  const units = ["", "Ki", "Mi", "Gi", "Ti"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value}${units[unit]}`;
}

function threeDigits(value: number): string {
  if (value < 9.995) return value.toFixed(2);
  return value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
