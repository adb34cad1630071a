import { OciError } from "../../oci/oci-error.ts";
import { imageName, parseReference, type Reference } from "../../oci/reference.ts";
import type { RuntimeRequest } from "../../runtime/discovery.ts";
import { parseOptions } from "../options.ts";
import { agentSocket, runtimeOptions, runtimeRequest } from "../runtimes/choice.ts";
import { UsageError } from "../usage-error.ts";

export type InjectArguments = {
  readonly disks: readonly string[];
  readonly request: RuntimeRequest;
  readonly socket: string;
  /** Empty: all images. */
  readonly images: readonly WantedImage[];
  readonly handlers: "all" | "default-only";
  readonly verify: "quick" | "full";
  readonly wait: boolean;
  readonly force: boolean;
  readonly json: boolean;
};

/** An image as it was written, and as nodes name it. */
export type WantedImage = { readonly text: string; readonly name: string; readonly reference: Reference };

const options = {
  ...runtimeOptions,
  image: { type: "string", multiple: true },
  handlers: { type: "string" },
  verify: { type: "string" },
  "no-wait": { type: "boolean" },
  force: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** Throws `UsageError`, or what `parseArgs` throws. Returns `undefined` when help is asked for. */
export function parseInjectArguments(args: readonly string[]): InjectArguments | undefined {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) return undefined;
  if (positionals.length === 0) throw new UsageError("no disk: name the file or block device to inject");
  const repeated = positionals.find((disk, i) => positionals.indexOf(disk) !== i);
  if (repeated !== undefined) throw new UsageError(`${repeated} is given twice`);
  return {
    disks: positionals,
    request: runtimeRequest(values),
    socket: agentSocket(values),
    images: (values.image ?? []).map(wantedImage),
    handlers: oneOf("--handlers", values.handlers ?? "all", ["all", "default-only"]),
    verify: oneOf("--verify", values.verify ?? "quick", ["quick", "full"]),
    wait: !values["no-wait"],
    force: values.force ?? false,
    json: values.json ?? false,
  };
}

function wantedImage(text: string): WantedImage {
  try {
    const reference = parseReference(text);
    return { text, name: imageName(reference), reference };
  } catch (error) {
    if (error instanceof OciError) throw new UsageError(`--image: ${error.message}`, { cause: error });
    throw error;
  }
}

function oneOf<Word extends string>(option: string, text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new UsageError(`${option} "${text}": give ${words.join(" or ")}`);
  return found;
}

export type EjectArguments = {
  /** Paths of disks, and ids or the beginning of ids. `all`: whatever is injected. */
  readonly disks: readonly string[] | "all";
  readonly request: RuntimeRequest;
  readonly socket: string;
  readonly wait: boolean;
  readonly materialize: boolean;
  readonly json: boolean;
};

const ejectOptions = {
  ...runtimeOptions,
  all: { type: "boolean" },
  wait: { type: "boolean" },
  materialize: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** As `parseInjectArguments`. */
export function parseEjectArguments(args: readonly string[]): EjectArguments | undefined {
  const { values, positionals } = parseOptions(args, ejectOptions);
  if (values.help) return undefined;
  const all = values.all ?? false;
  if (all && positionals.length > 0) throw new UsageError("--all ejects every disk; leave out the others");
  if (!all && positionals.length === 0) throw new UsageError("no disk: name a file, a block device, an id, or --all");
  return {
    disks: all ? "all" : positionals,
    request: runtimeRequest(values),
    socket: agentSocket(values),
    wait: values.wait ?? false,
    materialize: values.materialize ?? false,
    json: values.json ?? false,
  };
}
