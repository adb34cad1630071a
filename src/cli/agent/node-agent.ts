import type { Configuration } from "../../agent/config/configuration.ts";
import { ConfigurationFiles } from "../../agent/config/configuration-files.ts";
import type { HostDiskFinder } from "../../agent/disks/host-disk-finder.ts";
import { HostDiskHolders } from "../../agent/disks/host-disk-holders.ts";
import type { Log } from "../../agent/log-line.ts";
import { Agent } from "../../agent/loop/agent.ts";
import { systemClock } from "../../agent/loop/clock.ts";
import type { AgentParts } from "../../agent/loop/parts.ts";
import { LazyImageResolver } from "../../agent/refresh/lazy-image-resolver.ts";
import type { AgentMetrics } from "../../agent/serve/agent-metrics.ts";
import { PsiGauge } from "../../agent/space/pressure-gauge.ts";
import { StatfsGauge } from "../../agent/space/statfs-gauge.ts";
import type { NodeState } from "../../agent/state/agent-state.ts";
import { RuntimeState } from "../../agent/state/runtime-state.ts";
import type { FoundRuntime } from "../../runtime/discovery.ts";
import { openDiskSource } from "../../runtime/host/disk-source.ts";
import { openNodeRuntime } from "../../runtime/open-runtime.ts";
import type { RegistryAccess } from "../../runtime/registry-access.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { version } from "../version.ts";

/** What the agents of one node share. */
export type NodeParts = {
  /** Path of the documents. */
  readonly configuration: string;
  readonly state: NodeState;
  readonly disks: HostDiskFinder;
  /** What is in force; changed by `onConfiguration`. */
  readonly current: () => Configuration;
  readonly onConfiguration: (configuration: Configuration) => void;
  readonly metrics: AgentMetrics;
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
};

/** The agent of one runtime, open until it is disposed of. Throws `RuntimeError` and `HostError`. */
export async function openNodeAgent(
  found: FoundRuntime,
  node: NodeParts,
): Promise<AsyncDisposable & { readonly agent: Agent; readonly runtime: Runtime }> {
  const { runtime, images, close } = await openNodeRuntime(found);
  const resolver = new LazyImageResolver(async () => {
    const [{ RegistryImageResolver }, access] = await Promise.all([
      import("../../agent/refresh/registry-image-resolver.ts"),
      accessOf(found),
    ]);
    return new RegistryImageResolver({
      access,
      settings: () => node.current().agent,
      environment: node.environment,
      userAgent: `nodewarm/${version()}`,
      watcher: node.metrics.requests,
    });
  });
  const { name } = runtime;
  const parts: AgentParts = {
    configuration: new ConfigurationFiles(node.configuration),
    runtime,
    keeper: images,
    disks: node.disks,
    openByHand: openDiskSource,
    holders: new HostDiskHolders(),
    resolver,
    state: new RuntimeState(node.state, runtimeKey(found)),
    space: new StatfsGauge(),
    pressure: new PsiGauge(),
    clock: systemClock,
    random: Math.random,
    log: (line) => node.log({ ...line, runtime: name }),
    onConfiguration: node.onConfiguration,
  };
  return {
    agent: new Agent(node.metrics.count(parts)),
    runtime,
    async [Symbol.asyncDispose]() {
      await resolver.close();
      await close();
    },
  };
}

/** Of the runtime in the state of its node. Its name will not do: that tells its version. */
function runtimeKey({ kind, address, ...rest }: FoundRuntime): string {
  return [kind, address, ...("namespace" in rest ? [rest.namespace] : [])].join(" ");
}

/** Who pulls images on this node for users knows how registries are reached: Docker, where images are in a containerd below it. */
async function accessOf(found: FoundRuntime): Promise<() => Promise<RegistryAccess>> {
  const docker = found.kind === "containerd" ? found.docker : found.address;
  if (docker === undefined) {
    const { readRegistryAccess } = await import("../../runtime/containerd/registry/registry-access.ts");
    return () => readRegistryAccess(found.address);
  }
  const { readDockerRegistryAccess } = await import("../../runtime/docker/registry/docker-registry-access.ts");
  return () => readDockerRegistryAccess(docker);
}
