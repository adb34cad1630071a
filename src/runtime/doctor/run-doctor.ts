import { readConfiguration } from "../containerd/configuration.ts";
import { type ContainerdNode, criNamespace, openContainerdNode } from "../containerd/containerd-node.ts";
import { usesLayerImages } from "../containerd/layer-cache.ts";
import { discoverRuntimes, type FoundRuntime, type RuntimeRequest } from "../discovery.ts";
import { tryIdMappedMount } from "../host/id-mapped-mount.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";
import { checkHost } from "./host-checks.ts";
import { checkMachine } from "./machine-checks.ts";
import { checkPauseImage } from "./pause-image.ts";
import { checkHandlers, checkSharing, checkSnapshotter } from "./snapshotter-checks.ts";
import { checkUserNamespaces, checkVersion } from "./version-checks.ts";

export type DoctorReport = {
  readonly machine: readonly Finding[];
  readonly runtimes: readonly { readonly name: string; readonly findings: readonly Finding[] }[];
};

/** Finds out whether disks can be injected here. Changes nothing. A runtime that cannot be asked is a finding, not an error. */
export async function runDoctor(request: RuntimeRequest): Promise<DoctorReport> {
  const machine = await checkMachine();
  let found: readonly FoundRuntime[];
  try {
    found = await discoverRuntimes(request);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const wayOut = "start the runtime, or name it with --runtime, --address and --namespace";
    return { machine: [...machine, failure("runtime", error.message, wayOut)], runtimes: [] };
  }
  const runtimes: DoctorReport["runtimes"][number][] = [];
  for (const each of found) runtimes.push(await checkRuntime(each));
  return { machine, runtimes };
}

async function checkRuntime(found: FoundRuntime): Promise<DoctorReport["runtimes"][number]> {
  if (found.kind === "docker-graph")
    return {
      name: `Docker (${found.address})`,
      findings: [
        warning(
          "store",
          "overlay2: image ids and digests differ from the registry's, save and push fail, and pulls share no layers with injected images",
          'use Docker with the containerd store ("features": {"containerd-snapshotter": true} in daemon.json) where that matters',
        ),
      ],
    };
  const { address, namespace } = found;
  let node: ContainerdNode;
  try {
    node = await openContainerdNode(address, namespace, { anySnapshotter: true });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const wayOut = "see what the message says; nothing can be injected until then";
    return { name: `containerd (${address}, ${namespace})`, findings: [failure("runtime", error.message, wayOut)] };
  }
  try {
    return { name: `containerd (${address}, ${namespace})`, findings: await checkContainerd(node) };
  } finally {
    await node.close();
  }
}

async function checkContainerd(node: ContainerdNode): Promise<Finding[]> {
  const configuration = await readConfiguration(node);
  // Others lay out their folder as they like, and nothing is injected there.
  const isKnown = node.snapshotter === "overlayfs" || usesLayerImages(node);
  return [
    checkVersion(node.version, node.namespace === criNamespace),
    ...(isKnown ? await checkHost(node) : []),
    checkSnapshotter(node, configuration),
    checkHandlers(node),
    checkSharing(node),
    ...(isKnown ? [await checkIdMapping(node)] : []),
    await checkPauseImage(node, configuration),
  ];
}

async function checkIdMapping(node: ContainerdNode): Promise<Finding> {
  if (node.namespace !== criNamespace) return ok("user namespaces", "only pods have them");
  return checkUserNamespaces(node.version, await tryIdMappedMount(node.snapshotsFolder, node.mountNamespace));
}
