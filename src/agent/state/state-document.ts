import { isDigest } from "../../oci/descriptor.ts";
import {
  array,
  naturalNumber,
  object,
  optional,
  readShape,
  record,
  type Shape,
  string,
  stringThat,
} from "../../oci/json-shape.ts";
import { causeText, printable } from "../../oci/oci-error.ts";
import { AgentError } from "../agent-error.ts";
import { emptyRuntimeRecord, type KnownTag, type NodeRecord, type RuntimeRecord } from "./agent-state.ts";

/** The version that is written. A higher one is of a later program, which knows what this one does not. */
const formatVersion = "2";

const isDiskId = (text: string): text is string => /^[0-9a-f]{64}$/.test(text);

const diskId = stringThat(isDiskId, "64 hex digits");
const digits = stringThat((text): text is string => /^\d{1,20}$/.test(text), "decimal digits");
const absolutePath = stringThat(
  (text): text is string => text.startsWith("/") && !text.includes("\0"),
  "an absolute path",
);
const digest = stringThat(isDigest, "sha256:<64 hex digits>");

const anyTag = object({
  digest,
  atSeconds: naturalNumber,
  disk: optional(object({ line: string, sequence: naturalNumber })),
});
const knownTag: Shape<KnownTag> = (value, path) => {
  const { disk, ...rest } = anyTag(value, path);
  return disk === undefined ? rest : { ...rest, disk };
};

const anyByHand = object({ path: absolutePath, images: optional(array(string)) });
const byHand: Shape<RuntimeRecord["byHand"][string]> = (value, path) => {
  const { images, ...rest } = anyByHand(value, path);
  return images === undefined ? rest : { ...rest, images };
};

const seconds = object({ atSeconds: naturalNumber });
const ofDisks = {
  seenDisks: byDisk(
    array(object({ path: absolutePath, device: string, inode: digits, sizeBytes: naturalNumber, ctimeNs: digits })),
  ),
  seededDisks: byDisk(object({ path: absolutePath, sizeBytes: naturalNumber })),
};
const ofRuntime = { tags: record(knownTag), holds: array(diskId), byHand: byDisk(byHand) };
const runtimeRecord = object({ ...ofRuntime, evicted: keyed(digest, seconds) });

/** One record for all runtimes of the node. */
const firstDocument = object({ ...ofRuntime, ...ofDisks });
const document = object({ ...ofDisks, runtimes: record(runtimeRecord), unassigned: optional(runtimeRecord) });
const versioned = object({ formatVersion: optional(string) });

/** The text of a record; every reader gets the same record from it. */
export function writeStateDocument(state: NodeRecord): string {
  return `${JSON.stringify({ formatVersion, ...state }, undefined, 1)}\n`;
}

/**
 * Reads what `writeStateDocument` wrote, by this or an earlier version of the format. Throws `AgentError` `state-unusable`; `name` is for its
 * message.
 */
export function parseStateDocument(text: string, name: string): NodeRecord {
  const parsed = parseJson(text, name);
  const version = readShape(versioned, parsed);
  const found = version.value === undefined ? formatVersion : (version.value.formatVersion ?? "none");
  if (found === "1") return fromFirst(read(firstDocument, parsed, name));
  if (found === formatVersion) {
    const { unassigned, ...rest } = read(document, parsed, name);
    return unassigned === undefined ? rest : { ...rest, unassigned };
  }
  throw new AgentError(
    "state-unusable",
    `${name} has format version ${printable(found, 20)}; this program knows 1 to ${formatVersion}`,
  );
}

/** What a person said of a disk then was meant for every runtime. */
function fromFirst({ seenDisks, seededDisks, ...rest }: ReturnType<typeof firstDocument>): NodeRecord {
  return { runtimes: {}, seenDisks, seededDisks, unassigned: { ...emptyRuntimeRecord, ...rest } };
}

function read<T>(shape: Shape<T>, parsed: unknown, name: string): T {
  const { value, problem } = readShape(shape, parsed);
  if (problem === undefined) return value;
  throw new AgentError("state-unusable", printable(`${name}: ${problem.path} ${problem.message}`, 500));
}

/** An object whose keys are ids of disks. */
function byDisk<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return keyed(diskId, item);
}

function keyed<T>(key: Shape<string>, item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  const anyKeys = record(item);
  return (value, path) => {
    const found = anyKeys(value, path);
    for (const each of Object.keys(found)) key(each, `${path}.${each}`);
    return found;
  };
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AgentError("state-unusable", `${name} is not JSON: ${causeText(cause)}`, { cause });
  }
}
