import { openCri } from "../containerd/client/cri/cri-client.ts";
import type { Image } from "../containerd/client/images.ts";
import type { Configuration } from "../containerd/configuration.ts";
import { type ContainerdNode, criNamespace } from "../containerd/containerd-node.ts";
import { sandboxImages } from "../containerd/inject/skipped-images.ts";
import { recordOwner } from "../containerd/ownership.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

const name = "pause image";

/** After a reboot pods must start before any disk is there, and each begins with the pause image. */
export async function checkPauseImage(node: ContainerdNode, configuration: Configuration): Promise<Finding> {
  if (node.namespace !== criNamespace) return ok(name, "not needed without pods");
  const names = await pauseImageNames(node, configuration);
  if (names.length === 0) return ok(name, "containerd's default; no pod has run yet");
  const images = await node.in.images.list();
  return judgePauseImage(names, images);
}

export function judgePauseImage(names: readonly string[], images: readonly Image[]): Finding {
  const present = images.filter((image) => names.includes(image.name));
  const ids = new Set(images.filter((image) => recordOwner(image) !== undefined).map(({ target }) => target.digest));
  const fromDisk = present.find(({ target }) => ids.has(target.digest));
  if (fromDisk !== undefined)
    return failure(
      name,
      `${fromDisk.name} is on a disk: after a reboot no pod starts before that is mounted`,
      `eject that disk, pull the image (crictl pull ${fromDisk.name}), then inject again`,
    );
  if (present.length > 0) return ok(name, `${present.map((image) => image.name).join(", ")}, on the node itself`);
  return warning(
    name,
    `${names.join(", ")} is not on the node: the first pod waits for its pull`,
    `pull it (crictl pull ${names[0]})`,
  );
}

async function pauseImageNames(node: ContainerdNode, configuration: Configuration): Promise<string[]> {
  using cri = openCri(node.client.address);
  const { info } = await cri.runtime.status({ verbose: true });
  const said: unknown = Object(JSON.parse(info.config ?? "{}")).sandboxImage;
  const pinned = configuration.value("plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox");
  const known = [said, pinned].filter((each) => typeof each === "string" && each !== "");
  return known.length > 0 ? known.map(String) : [...(await sandboxImages(node))];
}
