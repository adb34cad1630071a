import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import type { ImageObservation, NodeContent, NodeImage } from "../../image-keeper.ts";
import type { DockerNode } from "../docker-node.ts";
import type { EngineImage } from "../engine-client.ts";
import { isOwnTag, type OwnImage, readOwnImage } from "../own-images.ts";
import { readKeptNames } from "./kept-names.ts";

/** An image of the daemon and the name that it is asked for by, as a registry knows it. */
export type NamedImage = {
  readonly name: string;
  readonly image: EngineImage;
  /** Digest of the target; the id where the image came without one, as built images do. */
  readonly digest: Digest;
  readonly own: OwnImage | undefined;
  readonly origin: NodeImage["origin"];
};

/** All names that a daemon has. Throws `RuntimeError`, what `node:fs` gives, or the reason of the signal. */
export async function readNamedImages(node: DockerNode, signal: AbortSignal): Promise<NamedImage[]> {
  const [images, kept] = await Promise.all([node.engine.images(signal), readKeptNames(node.store.root)]);
  const named: NamedImage[] = [];
  for (const image of images) {
    const own = await readOwnImage(node.store, image);
    const originOf = (name: string): NodeImage["origin"] => {
      if (own?.layer.kind === "linked" && isOwnTag(own, name)) return { from: "disk", disk: own.layer.link.disk };
      return kept.get(name) === image.id ? { from: "fetch" } : { from: "elsewhere" };
    };
    const target = own && (own.named.get(image.id)?.target ?? own.config.config);
    for (const name of image.tags) {
      const digest = target ?? digestFor(image, repositoryOf(name));
      named.push({ name, image, digest, own, origin: originOf(name) });
    }
    for (const name of image.digests) {
      const digest = digestIn(name);
      if (digest !== undefined) named.push({ name, image, digest, own, origin: originOf(name) });
    }
  }
  return named;
}

/** As `ImageKeeper.observe`. Docker collects nothing by itself: all count as pinned. */
export async function observeImages(node: DockerNode, signal: AbortSignal): Promise<ImageObservation> {
  const [named, containers] = await Promise.all([readNamedImages(node, signal), node.engine.containers(signal)]);
  const contents = new Map<Digest, NodeContent>();
  for (const { digest, image, own } of new Map(
    named.map((each) => [`${each.digest} ${each.image.id}`, each]),
  ).values()) {
    const missing = own === undefined ? "" : await missingOf(own);
    const users = containers.flatMap(({ id, image: of }) =>
      of === image.id ? [{ kind: "container", name: id } as const] : [],
    );
    const before = contents.get(digest);
    const isWarm = missing === "" || before?.isWarm === true;
    contents.set(digest, {
      digest,
      isWarm,
      missing: isWarm ? "" : missing,
      users: [...(before?.users ?? []), ...users],
      ...(image.createdSeconds > 0 && { createdSeconds: image.createdSeconds }),
    });
  }
  const images = named.map(({ name, digest, origin }): NodeImage => ({ name, digest, origin, isPinned: true }));
  return { images, contents };
}

/** Why no container can start from an image of ours; empty when one can. */
export async function missingOf({ layer, layerFolder }: OwnImage): Promise<string> {
  if (layer.kind === "files") return "";
  if (layer.kind !== "linked") return "its layer does not lead to a disk";
  const isThere = await stat(join(layerFolder, "diff")).then(
    () => true,
    () => false,
  );
  return isThere ? "" : `disk ${layer.link.disk.slice(0, 12)} is not mounted`;
}

/** `host/path` of a name with a tag or a digest. */
function repositoryOf(name: string): string {
  const [path = name] = name.split("@");
  const colon = path.lastIndexOf(":");
  return colon > path.lastIndexOf("/") ? path.slice(0, colon) : path;
}

/** That by which the image was pulled from a repository, or else from another one. */
function digestFor({ id, digests }: EngineImage, repository: string): Digest {
  const same = digests.find((name) => name.startsWith(`${repository}@`));
  return digestIn(same ?? digests[0] ?? "") ?? id;
}

function digestIn(name: string): Digest | undefined {
  const digest = name.slice(name.indexOf("@") + 1);
  return isDigest(digest) ? digest : undefined;
}
