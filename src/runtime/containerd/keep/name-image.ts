import type { Descriptor, Digest } from "../../../oci/descriptor.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { Image } from "../client/images.ts";
import type { LabelChange } from "../client/label.ts";
import { type ContainerdNode, criNamespace } from "../containerd-node.ts";
import { idRecordName } from "../inject/plan.ts";
import { lockNode } from "../node-lock.ts";
import { criImageLabels, isIDRecord, isPinned, label, pinnedLabel, recordLabels, recordOrigin } from "../ownership.ts";
import type { DocumentCache } from "./document-cache.ts";
import { lookOneByOne } from "./look.ts";
import { Warmth } from "./warmth.ts";

/** A record that others make at the same moment is looked at again. */
const maxTries = 5;

/** As `ImageKeeper.setName`. */
export async function setName(
  node: ContainerdNode,
  documents: DocumentCache,
  name: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<void> {
  await using _ = await lockNode(node, signal);
  const known = await recordsOf(node, digest, signal);
  const warmth = new Warmth(node, documents, lookOneByOne(node, signal), signal);
  const { missing, config, disk } = await warmth.of(digest);
  if (missing !== "" || config === undefined)
    throw new RuntimeError(
      "failed-precondition",
      `${name} is not set to ${digest} in namespace ${node.namespace} of containerd: ${missing}`,
    );
  const isCri = node.namespace === criNamespace;
  const before = known.find((record) => record.name === name);
  if (before !== undefined) {
    if (!isCri || known.some(({ labels }) => isPinned(labels))) return;
    // One of others stays theirs, and says that the pin is ours.
    const mark: LabelChange = recordOrigin(before).from === "elsewhere" ? { [label.kept]: "true" } : {};
    await node.in.images.update(name, { labels: { ...criImageLabels, ...mark } }, { signal });
    return;
  }
  const target = known[0]?.target ?? (await descriptorOf(node, documents, digest, signal));
  const owner = disk === undefined ? "fetched" : { disk };
  const ours = (record: string): LabelChange => ({
    ...noLabels,
    ...recordLabels(record, owner, isCri),
    [label.target]: digest,
  });
  // The tag comes last: whoever finds it finds the others (3.1 of what CRI needs: id, repository@digest, tag).
  if (isCri) {
    const others = [idRecordName(config), `${repositoryOf(name)}@${digest}`];
    for (const other of others) if (other !== name) await createIfMissing(node, other, target, ours(other), signal);
  }
  await putRecord(node, name, target, ours(name), signal);
}

/** As `ImageKeeper.release`. */
export async function releaseName(
  node: ContainerdNode,
  name: string,
  how: "remove" | "unpin",
  signal: AbortSignal,
): Promise<void> {
  await using _ = await lockNode(node, signal);
  const record = await getRecord(node, name, signal);
  if (record === undefined) return;
  if (recordOrigin(record).from === "elsewhere") {
    // Those that we pinned, and copies of ours: the label of each says so.
    if (record.labels[label.kept] === undefined && record.labels[label.name] === undefined) return;
    await unlessGone(node.in.images.update(name, { labels: noLabels }, { signal }));
  } else if (how === "remove") await unlessGone(node.in.images.delete(name, { signal }));
  else await unlessGone(node.in.images.update(name, { labels: noLabels }, { signal }));
  await releaseID(node, record.target.digest, signal);
}

/** What we put on records, `managed` aside: it is CRI's own. */
const noLabels: LabelChange = {
  [label.disk]: undefined,
  [label.fetched]: undefined,
  [label.kept]: undefined,
  [label.name]: undefined,
  [label.target]: undefined,
  [pinnedLabel]: undefined,
};

/** The record of an image id goes, or is given back, with the last name that is ours or pinned by us. */
async function releaseID(node: ContainerdNode, digest: Digest, signal: AbortSignal): Promise<void> {
  if (node.namespace !== criNamespace) return;
  const records = await recordsOf(node, digest, signal);
  const named = records.filter((record) => !isIDRecord(record.name));
  if (named.some((record) => recordOrigin(record).from !== "elsewhere" || record.labels[label.kept] !== undefined))
    return;
  for (const record of records) {
    const isTheirs = recordOrigin(record).from === "elsewhere";
    if (!isIDRecord(record.name) || (isTheirs && record.labels[label.kept] === undefined)) continue;
    if (named.length === 0 && !isTheirs) await unlessGone(node.in.images.delete(record.name, { signal }));
    else await unlessGone(node.in.images.update(record.name, { labels: noLabels }, { signal }));
  }
}

async function recordsOf(node: ContainerdNode, digest: Digest, signal: AbortSignal): Promise<Image[]> {
  return node.in.images.list([`target.digest==${digest}`], { signal });
}

async function descriptorOf(
  node: ContainerdNode,
  documents: DocumentCache,
  digest: Digest,
  signal: AbortSignal,
): Promise<Descriptor> {
  const document = await documents.read(node.in.content, digest, signal);
  if (document === undefined) throw new RuntimeError("not-found", `${digest} is not in the content store`);
  return { mediaType: document.mediaType, digest, size: document.sizeBytes };
}

async function createIfMissing(
  node: ContainerdNode,
  name: string,
  target: Descriptor,
  labels: LabelChange,
  signal: AbortSignal,
): Promise<void> {
  try {
    await node.in.images.create({ name, target, labels: present(labels) }, { signal });
  } catch (error) {
    if (!isRuntimeError(error, "already-exists")) throw error;
  }
}

async function putRecord(
  node: ContainerdNode,
  name: string,
  target: Descriptor,
  labels: LabelChange,
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await node.in.images.update(name, { target, labels }, { signal });
      return;
    } catch (error) {
      if (!isRuntimeError(error, "not-found")) throw error;
    }
    try {
      await node.in.images.create({ name, target, labels: present(labels) }, { signal });
      return;
    } catch (error) {
      if (!isRuntimeError(error, "already-exists") || tries === maxTries) throw error;
    }
  }
}

async function getRecord(node: ContainerdNode, name: string, signal: AbortSignal): Promise<Image | undefined> {
  try {
    return await node.in.images.get(name, { signal });
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return undefined;
    throw error;
  }
}

async function unlessGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isRuntimeError(error, "not-found")) throw error;
  }
}

function present(change: LabelChange): Record<string, string> {
  return Object.fromEntries(
    Object.entries(change).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}

/** `host/path` of a name with a tag or a digest. */
function repositoryOf(name: string): string {
  const [path = name] = name.split("@");
  const colon = path.lastIndexOf(":");
  return colon > path.lastIndexOf("/") ? path.slice(0, colon) : path;
}
