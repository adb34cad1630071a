import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { Platform } from "../../oci/descriptor.ts";
import { parseImageArgument } from "../../oci/image-argument.ts";
import { OciError } from "../../oci/oci-error.ts";
import { formatPlatform, hostPlatform, parsePlatform, platformFileName } from "../../oci/platform.ts";
import { closestWord } from "../closest-word.ts";
import { UsageError } from "../usage-error.ts";
import { parseLimits } from "./limits.ts";

/** How progress is shown: `auto` is bars on a terminal, plain lines elsewhere. */
export type ProgressStyle = "auto" | "plain" | "none";

/** A checked command line of `nodewarm build`; nothing of it has been opened yet. */
export type BuildArguments = {
  readonly images: readonly string[];
  /** Paths of image set files; `-` is standard input. */
  readonly imageSetFiles: readonly string[];
  /** As given; may hold `{platform}`. */
  readonly output: string;
  readonly platforms: readonly Platform[];
  readonly blobs: boolean;
  readonly erofsCache: boolean;
  /** As given; may hold `{platform}`. */
  readonly from: string | undefined;
  readonly line: string | undefined;
  readonly sequence: number | undefined;
  readonly authFile: string | undefined;
  readonly plainHttp: readonly string[];
  readonly caFile: string | undefined;
  readonly hostsDirectory: string | undefined;
  readonly limits: Readonly<Record<string, number>>;
  readonly jobs: number;
  readonly json: boolean;
  readonly progress: ProgressStyle;
  /** SOURCE_DATE_EPOCH. */
  readonly createdSeconds: number | undefined;
};

const options = {
  file: { type: "string", short: "f", multiple: true },
  output: { type: "string", short: "o", multiple: true },
  platform: { type: "string", multiple: true },
  blobs: { type: "boolean" },
  "erofs-cache": { type: "boolean" },
  from: { type: "string", multiple: true },
  line: { type: "string", multiple: true },
  sequence: { type: "string", multiple: true },
  authfile: { type: "string", multiple: true },
  "plain-http": { type: "string", multiple: true },
  ca: { type: "string", multiple: true },
  "hosts-dir": { type: "string", multiple: true },
  limit: { type: "string", multiple: true },
  jobs: { type: "string", short: "j", multiple: true },
  json: { type: "boolean" },
  progress: { type: "string", multiple: true },
  help: { type: "boolean", short: "h" },
} as const;

/** The last second of the year 9999, the last that RFC 3339 can write. */
const lastSecond = 253_402_300_799;
const maxJobs = 256;

/** Default of `--jobs`: more than the cores where there are few (some layers wait for the network), four at most. */
export function defaultJobs(): number {
  return Math.min(Math.max(availableParallelism(), 2), 4);
}

/** Throws `UsageError`, or what `parseArgs` throws for unknown options. Returns `undefined` when help is asked for. */
export function parseBuildArguments(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): BuildArguments | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const once = (
    name: "output" | "from" | "line" | "sequence" | "authfile" | "ca" | "hosts-dir" | "jobs" | "progress",
  ) => {
    const given = values[name];
    if (given === undefined) return undefined;
    if (given.length > 1) throw new UsageError(`--${name} is given ${given.length} times; give it once`);
    if (given[0] === "") throw new UsageError(`--${name} is empty`);
    return given[0];
  };

  const output = once("output");
  if (output === undefined) throw new UsageError("no -o DISK: say where the disk is to be written");
  const imageSetFiles = values.file ?? [];
  if (positionals.length === 0 && imageSetFiles.length === 0) {
    throw new UsageError("no image: name at least one IMAGE, or an image set with -f FILE");
  }
  if (positionals.includes("") || imageSetFiles.includes("")) throw new UsageError("an IMAGE or FILE is empty");
  if (imageSetFiles.filter((file) => file === "-").length > 1) {
    throw new UsageError("-f - is given twice; standard input can be read once");
  }

  for (const image of positionals) asUsage(() => parseImageArgument(image));

  const platforms = values.platform === undefined ? [hostPlatform()] : values.platform.map(linuxPlatform);
  const repeated = platforms.find((platform, index) => {
    return platforms.findIndex((other) => formatPlatform(other) === formatPlatform(platform)) !== index;
  });
  if (repeated) throw new UsageError(`--platform ${formatPlatform(repeated)} is given twice`);
  if (platforms.length > 1 && !output.includes("{platform}")) {
    throw new UsageError(
      `several platforms make several disks: -o must contain {platform}, as in "disk-{platform}.erofs"`,
    );
  }

  const line = once("line");
  if (line !== undefined) checkLine(line);
  const jobs = once("jobs");
  return {
    images: positionals,
    imageSetFiles,
    output,
    platforms,
    blobs: values.blobs ?? false,
    erofsCache: values["erofs-cache"] ?? false,
    from: once("from"),
    line,
    sequence: wholeNumber("--sequence", once("sequence"), 0, Number.MAX_SAFE_INTEGER),
    authFile: once("authfile"),
    plainHttp: (values["plain-http"] ?? []).map(checkHost),
    caFile: once("ca"),
    hostsDirectory: once("hosts-dir"),
    limits: parseLimits(values.limit ?? []),
    jobs: wholeNumber("--jobs", jobs, 1, maxJobs) ?? defaultJobs(),
    json: values.json ?? false,
    progress: progressStyle(once("progress") ?? "auto"),
    createdSeconds: wholeNumber("SOURCE_DATE_EPOCH", env.SOURCE_DATE_EPOCH || undefined, 0, lastSecond),
  };
}

function parse(args: readonly string[]) {
  for (const arg of args) {
    if (arg === "--") break;
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(options, name)) continue;
    const closest = closestWord(name, Object.keys(options));
    throw new UsageError(`unknown option "--${name}"${closest === undefined ? "" : `; did you mean "--${closest}"?`}`);
  }
  return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
}

/** A line names disks that follow each other: as plain as a file name. */
export function checkLine(line: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(line)) {
    throw new UsageError(
      `--line ${JSON.stringify(line)}: use 1 to 253 letters, digits, ".", "_" and "-", beginning with a letter or digit`,
    );
  }
}

function linuxPlatform(text: string): Platform {
  const platform = asUsage(() => parsePlatform(text));
  if (platform.os !== "linux") throw new UsageError(`--platform "${text}": a disk holds linux images only`);
  return platform;
}

/** What the lower layers refuse in an argument is wrong usage here. */
function asUsage<Result>(parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    if (error instanceof OciError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** `path` with `{platform}` replaced, as in `disk-linux-arm64-v8.erofs`. */
export function pathForPlatform(path: string, platform: Platform): string {
  return path.replaceAll("{platform}", platformFileName(platform));
}

function checkHost(host: string): string {
  if (!/^[^\s/@?#]+$/.test(host)) {
    throw new UsageError(`--plain-http "${host}": give a host as in an image's name, such as "registry.local:5000"`);
  }
  return host;
}

function progressStyle(text: string): ProgressStyle {
  if (text === "auto" || text === "plain" || text === "none") return text;
  throw new UsageError(`--progress "${text}": give auto, plain or none`);
}

function wholeNumber(name: string, text: string | undefined, lowest: number, highest: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || value < lowest || value > highest) {
    throw new UsageError(`${name} "${text}": give a whole number from ${lowest} to ${highest}`);
  }
  return value;
}
