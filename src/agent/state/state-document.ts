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
import type { AgentRecord, KnownTag } from "./agent-state.ts";

/** The version that is written, and the only one that is read: another one is of a later program, which knows what this one does not. */
const formatVersion = "1";

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
const byHand: Shape<AgentRecord["byHand"][string]> = (value, path) => {
  const { images, ...rest } = anyByHand(value, path);
  return images === undefined ? rest : { ...rest, images };
};

const document = object({
  tags: record(knownTag),
  holds: array(diskId),
  byHand: byDisk(byHand),
  seenDisks: byDisk(
    array(object({ path: absolutePath, device: string, inode: digits, sizeBytes: naturalNumber, ctimeNs: digits })),
  ),
  seededDisks: byDisk(object({ path: absolutePath, sizeBytes: naturalNumber })),
});
const versioned = object({ formatVersion: optional(string) });

/** The text of a record; every reader gets the same record from it. */
export function writeStateDocument(state: AgentRecord): string {
  return `${JSON.stringify({ formatVersion, ...state }, undefined, 1)}\n`;
}

/** Reads what `writeStateDocument` wrote. Throws `AgentError` `state-unusable`; `name` is for its message. */
export function parseStateDocument(text: string, name: string): AgentRecord {
  const parsed = parseJson(text, name);
  const version = readShape(versioned, parsed);
  if (version.value !== undefined && version.value.formatVersion !== formatVersion) {
    const found = printable(version.value.formatVersion ?? "none", 20);
    throw new AgentError("state-unusable", `${name} has format version ${found}; this program knows ${formatVersion}`);
  }
  const { value, problem } = readShape(document, parsed);
  if (problem === undefined) return value;
  throw new AgentError("state-unusable", printable(`${name}: ${problem.path} ${problem.message}`, 500));
}

/** An object whose keys are ids of disks. */
function byDisk<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  const anyKeys = record(item);
  return (value, path) => {
    const found = anyKeys(value, path);
    for (const key of Object.keys(found)) diskId(key, `${path}.${key}`);
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
