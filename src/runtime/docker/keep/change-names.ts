import type { Digest } from "../../../oci/descriptor.ts";
import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import type { FetchOptions, FetchReport } from "../../image-keeper.ts";
import { RuntimeError } from "../../runtime-error.ts";
import { lockDaemon } from "../daemon-lock.ts";
import type { DockerNode } from "../docker-node.ts";
import { addNamedImage, dropName } from "../layer-folder.ts";
import { changeKeptNames } from "./kept-names.ts";
import { missingOf, type NamedImage, readNamedImages } from "./read-images.ts";

/** As `ImageKeeper.setName`. */
export async function setName(node: DockerNode, name: string, digest: Digest, signal: AbortSignal): Promise<void> {
  await using _ = await lockDaemon(node.store.root, signal);
  const named = await readNamedImages(node, signal);
  if (named.some((each) => each.name === name && each.digest === digest)) return;
  const wanted = await findWarm(named, digest);
  if (wanted === undefined)
    throw new RuntimeError("failed-precondition", `${name} is not set to ${digest} in Docker: there is no such image`);
  const { image, own } = wanted;
  // Said first that it is ours: a name that nobody set yet counts for nothing.
  if (own?.layer.kind === "linked") {
    await addNamedImage(own.layerFolder, image.id, { target: digest, names: [name] });
    await syncFilesystem(node.store.root);
  } else await keepName(node, named, name, image.id);
  await node.engine.tag(image.id, name, signal);
}

/** As `ImageKeeper.release`. Throws `RuntimeError` `failed-precondition` while a container has the image whose last name this is. */
export async function releaseName(
  node: DockerNode,
  name: string,
  how: "remove" | "unpin",
  signal: AbortSignal,
): Promise<void> {
  await using _ = await lockDaemon(node.store.root, signal);
  const found = (await readNamedImages(node, signal)).find((each) => each.name === name);
  if (found !== undefined && found.origin.from !== "elsewhere") {
    if (how === "remove") await node.engine.remove(name, signal);
    else if (found.own !== undefined) {
      await dropName(found.own.layerFolder, found.image.id, name);
      await syncFilesystem(node.store.root);
    }
  }
  await changeKeptNames(node.store.root, (names) => names.delete(name));
}

/** As `ImageKeeper.fetch`: Docker pulls by the digest. */
export async function pullImage(
  node: DockerNode,
  image: ResolvedImage,
  repository: string,
  { signal, admit, onProgress, credential }: FetchOptions,
): Promise<FetchReport> {
  const { digest } = image.target;
  const name = `${repository}@${digest}`;
  const totalBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const layers = image.layers.length;
  if ((await findWarm(await readNamedImages(node, signal), digest)) !== undefined) {
    onProgress?.({ fetchedBytes: 0, presentBytes: totalBytes, unpackedBytes: totalBytes, totalBytes });
    return {
      result: "present",
      fetchedBytes: 0,
      diskBytes: 0,
      fetchedLayers: 0,
      presentLayers: layers,
      conditions: [],
    };
  }
  onProgress?.({ fetchedBytes: 0, presentBytes: 0, unpackedBytes: 0, totalBytes });
  await admit?.(totalBytes);
  signal.throwIfAborted();
  await node.engine.pull(repository, digest, credential, signal);
  await using _ = await lockDaemon(node.store.root, signal);
  const named = await readNamedImages(node, signal);
  const pulled = named.find((each) => each.name === name);
  if (pulled === undefined)
    throw new RuntimeError("not-found", `${name} was pulled by Docker, and is gone again: somebody removed it`);
  await keepName(node, named, name, pulled.image.id);
  onProgress?.({ fetchedBytes: totalBytes, presentBytes: 0, unpackedBytes: totalBytes, totalBytes });
  return {
    result: "fetched",
    fetchedBytes: totalBytes,
    diskBytes: 0,
    fetchedLayers: layers,
    presentLayers: 0,
    conditions: [],
  };
}

/** Notes a name as ours, and forgets those that others took away or set since: set again by others, they would count as ours. */
async function keepName(node: DockerNode, named: readonly NamedImage[], name: string, id: Digest): Promise<void> {
  const now = new Map(named.map((each) => [each.name, each.image.id]));
  await changeKeptNames(node.store.root, (names) => {
    for (const [other, before] of names) if (now.get(other) !== before) names.delete(other);
    names.set(name, id);
  });
}

async function findWarm(named: readonly NamedImage[], digest: Digest): Promise<NamedImage | undefined> {
  for (const each of named) {
    if (each.digest !== digest) continue;
    if (each.own === undefined || (await missingOf(each.own)) === "") return each;
  }
  return undefined;
}
