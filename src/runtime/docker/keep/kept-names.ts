import { join } from "node:path";
import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import { object, readShape, record, stringThat } from "../../../oci/json-shape.ts";
import { syncDirectory } from "../../host/sync-filesystem.ts";
import { ownFolder } from "../daemon-lock.ts";
import { parseJson, readIfExists, replaceFile } from "../durable-file.ts";

/**
 * Names that we set for images which are on no disk, and the ids that they had then: Docker has no labels for names. One that has another id
 * now was set by somebody else.
 */
export type KeptNames = ReadonlyMap<string, Digest>;

const document = object({
  formatVersion: stringThat((text): text is "1" => text === "1", "1"),
  names: record(stringThat(isDigest, "a digest")),
});

/** Without the file, or where it was damaged, no name counts as ours. */
export async function readKeptNames(dataRoot: string): Promise<KeptNames> {
  const text = await readIfExists(fileOf(dataRoot));
  return new Map(Object.entries(readShape(document, parseJson(text ?? "")).value?.names ?? {}));
}

/** Under the lock of the daemon. Durable when it returns. */
export async function changeKeptNames(dataRoot: string, change: (names: Map<string, Digest>) => void): Promise<void> {
  const before = await readKeptNames(dataRoot);
  const names = new Map(before);
  change(names);
  if (names.size === before.size && [...names].every(([name, id]) => before.get(name) === id)) return;
  const text = JSON.stringify({ formatVersion: "1", names: Object.fromEntries(names) }, null, 2);
  await replaceFile(fileOf(dataRoot), `${text}\n`);
  await syncDirectory(join(dataRoot, ownFolder));
}

function fileOf(dataRoot: string): string {
  return join(dataRoot, ownFolder, "names.json");
}
