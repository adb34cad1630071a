import { access, realpath } from "node:fs/promises";
import { type ContainerdClient, openContainerd } from "./containerd/client/containerd-client.ts";
import { criNamespace, dockerNamespace } from "./containerd/containerd-node.ts";
import type { DockerInfo } from "./docker/docker-info.ts";
import { isRuntimeError, RuntimeError } from "./runtime-error.ts";

/** What the user says about the runtime. */
export type RuntimeRequest = {
  /** `auto`: every containerd with CRI, and Docker where its images are in containerd; never Docker's own stores. */
  readonly runtime: "auto" | "containerd" | "docker";
  /** Path of the socket. Default: the candidates. */
  readonly address?: string;
  /** Of containerd. Default: `k8s.io`. */
  readonly namespace?: string;
};

/** A socket that a runtime may listen on. */
export type Candidate = { readonly kind: "containerd" | "docker"; readonly address: string; readonly of: string };

/**
 * A runtime that answered. `docker-graph`: a Docker whose images are in its own overlay2 store; `docker`: socket of the Docker by which a
 * containerd was found, whose registry settings count.
 */
export type FoundRuntime =
  | { readonly kind: "containerd"; readonly address: string; readonly namespace: string; readonly docker?: string }
  | { readonly kind: "docker-graph"; readonly address: string };

/** Where runtimes listen as their packages set them up. */
export const usualSockets: readonly Candidate[] = [
  { kind: "containerd", address: "/run/containerd/containerd.sock", of: "containerd" },
  { kind: "containerd", address: "/run/k3s/containerd/containerd.sock", of: "k3s, RKE2" },
  { kind: "containerd", address: "/var/snap/microk8s/common/run/containerd.sock", of: "microk8s" },
  { kind: "containerd", address: "/run/docker/containerd/containerd.sock", of: "Docker's own containerd" },
  { kind: "docker", address: "/run/docker.sock", of: "Docker" },
];

/** Daemons answer in milliseconds; one that hangs must not hold up the others for long. */
const probeTimeoutMs = 5000;

/** What is at a candidate, or why it is not used. */
type Probe = { readonly found: FoundRuntime } | { readonly reason: string };

/**
 * The runtimes to work with, at least one. Throws `RuntimeError`: `not-found`, with every place that was looked at and why nothing there was
 * taken; what the socket gives where `request` names one.
 */
export async function discoverRuntimes(
  request: RuntimeRequest,
  candidates: readonly Candidate[] = usualSockets,
): Promise<readonly FoundRuntime[]> {
  if (request.address !== undefined) return [await atAddress(request, request.address, candidates)];
  const wanted = candidates.filter(({ kind }) => request.runtime === "auto" || request.runtime === kind);
  // Docker's own sockets say nothing about a namespace that the user names.
  const asked = wanted.filter(({ kind }) => kind === "containerd" || request.namespace === undefined);
  const probes = await Promise.all(asked.map((candidate) => probe(request, candidate, candidates)));
  const found = probes.flatMap((each) => ("found" in each ? [each.found] : []));
  if (found.length > 0) return withoutRepeats(found);
  const places = asked.map(({ address, of }, i) => `\n  ${address} (${of}): ${reasonOf(probes[i])}`);
  throw new RuntimeError(
    "not-found",
    `no container runtime was found that can be injected. Looked at:${places.join("")}\n` +
      "Start one, or name its socket: --address SOCKET, with --namespace NAME for a containerd without pods, or --runtime docker for Docker with overlay2",
  );
}

function reasonOf(each: Probe | undefined): string {
  return each !== undefined && "reason" in each ? each.reason : "";
}

async function atAddress(
  request: RuntimeRequest,
  address: string,
  candidates: readonly Candidate[],
): Promise<FoundRuntime> {
  const namespace = request.namespace ?? criNamespace;
  // Nothing else it may be: whoever opens it finds out whether it answers.
  if (request.runtime === "containerd") return { kind: "containerd", address: plainPath(address), namespace };
  if (request.runtime !== "docker") {
    using client = openContainerd(address);
    try {
      await client.version.get({ timeoutMs: probeTimeoutMs });
      return { kind: "containerd", address: client.address, namespace };
    } catch (error) {
      const mayBeDocker = request.runtime === "auto" && request.namespace === undefined;
      if (!mayBeDocker || !isRuntimeError(error, "wrong-program")) throw error;
    }
  }
  const probed = await dockerAt({ ...request, runtime: "docker" }, plainPath(address), candidates);
  if ("found" in probed) return probed.found;
  throw new RuntimeError("failed-precondition", `Docker at ${address}: ${probed.reason}`);
}

async function probe(
  request: RuntimeRequest,
  { kind, address }: Candidate,
  candidates: readonly Candidate[],
): Promise<Probe> {
  try {
    if (kind === "docker") return await dockerAt(request, address, candidates);
    using client = openContainerd(address);
    return await containerdAt(request, client);
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    return { reason: error.cause instanceof Error && isMissing(error.cause) ? "no socket" : error.message };
  }
}

function isMissing(error: Error): boolean {
  return "code" in error && error.code === "ENOENT";
}

async function containerdAt({ runtime, namespace }: RuntimeRequest, client: ContainerdClient): Promise<Probe> {
  await client.version.get({ timeoutMs: probeTimeoutMs });
  const taken = { kind: "containerd", address: client.address, namespace: namespace ?? criNamespace } as const;
  if (runtime === "containerd" || namespace !== undefined) return { found: taken };
  const [cri] = await client.introspection.plugins(["type==io.containerd.grpc.v1,id==cri"], {
    timeoutMs: probeTimeoutMs,
  });
  if (cri === undefined) return { reason: "it runs no pods: the CRI plugin is switched off" };
  return cri.failure === undefined
    ? { found: taken }
    : { reason: `it runs no pods: the CRI plugin failed (${cri.failure})` };
}

async function dockerAt(
  { runtime }: RuntimeRequest,
  address: string,
  candidates: readonly Candidate[],
): Promise<Probe> {
  // Most nodes have no Docker, and its protocol need not be loaded there.
  if (!(await exists(address))) return { reason: "no socket" };
  const { readDockerInfo } = await import("./docker/docker-info.ts");
  const info = await readDockerInfo(address, probeTimeoutMs);
  if (!info.usesContainerd) {
    if (info.driver !== "overlay2")
      return { reason: `its storage driver is "${info.driver}"; only overlay2 is supported` };
    if (runtime === "docker") return { found: { kind: "docker-graph", address } };
    return {
      reason: "it keeps its images in its own overlay2 store; say --runtime docker to have them injected there",
    };
  }
  if (info.driver !== "overlayfs")
    return {
      reason: `its snapshotter is "${info.driver}"; only overlayfs is supported (storage-driver in daemon.json)`,
    };
  if ((info.namespace ?? dockerNamespace) !== dockerNamespace)
    return {
      reason: `it works in the namespace "${info.namespace}" of containerd; only "${dockerNamespace}" is supported`,
    };
  const containerd = await containerdOf(info, candidates);
  if (containerd === undefined)
    return { reason: "it does not say which containerd it uses; name that one with --address" };
  return { found: { kind: "containerd", address: containerd, namespace: dockerNamespace, docker: address } };
}

/** Docker before 27 does not name its containerd: it is one that has Docker's namespace. */
async function containerdOf(info: DockerInfo, candidates: readonly Candidate[]): Promise<string | undefined> {
  if (info.containerd !== undefined) return plainPath(info.containerd);
  for (const { kind, address } of candidates) {
    if (kind !== "containerd") continue;
    using client = openContainerd(address);
    const namespaces = await client.namespaces.list({ timeoutMs: probeTimeoutMs }).catch(() => []);
    if (namespaces.some(({ name }) => name === dockerNamespace)) return address;
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function plainPath(address: string): string {
  return address.replace(/^unix:(\/\/)?/, "");
}

/** One daemon may be found by several sockets and links. */
async function withoutRepeats(found: readonly FoundRuntime[]): Promise<FoundRuntime[]> {
  const byPlace = new Map<string, FoundRuntime>();
  for (const each of found) {
    const path = await realpath(each.address).catch(() => each.address);
    const place = `${path}\n${each.kind === "containerd" ? each.namespace : ""}`;
    if (!byPlace.has(place)) byPlace.set(place, each);
  }
  return [...byPlace.values()];
}
