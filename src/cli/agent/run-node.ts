import { setTimeout as sleep } from "node:timers/promises";
import { defaultAgentSpec } from "../../agent/config/agent-config.ts";
import type { Configuration } from "../../agent/config/configuration.ts";
import { readConfiguration } from "../../agent/config/read-configuration.ts";
import { HostDiskFinder } from "../../agent/disks/host-disk-finder.ts";
import type { DiskPlaces } from "../../agent/disks/place-watch.ts";
import { errorFields, type Log } from "../../agent/log-line.ts";
import { AgentMetrics } from "../../agent/serve/agent-metrics.ts";
import { AgentsControl, type ControlledAgent } from "../../agent/serve/agents-control.ts";
import { serveControl } from "../../agent/serve/control-server.ts";
import { NodeReport } from "../../agent/serve/node-report.ts";
import { serviceManager } from "../../agent/serve/service-manager.ts";
import { FolderState } from "../../agent/state/folder-state.ts";
import type { AgentStatus } from "../../agent/status.ts";
import { CodedError } from "../../oci/coded-error.ts";
import type { FoundRuntime } from "../../runtime/discovery.ts";
import { version } from "../version.ts";
import type { AgentArguments } from "./arguments.ts";
import { findRuntimes } from "./find-runtimes.ts";
import { type NodeParts, openNodeAgent } from "./node-agent.ts";
import { QuietMemory } from "./quiet-memory.ts";

/** A runtime may start after the agent, and a second one much later. */
const firstSearchMs = 500;
const nextSearchMs = 30_000;

export type NodeOptions = {
  readonly given: AgentArguments;
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/**
 * Runs the agents of all runtimes of this node until `signal` aborts, or with `once` until each is done. The last status of each. Throws where
 * the agent cannot be what the command line asks for; everything else it waits out.
 */
export async function runNode({ given, environment, log, signal }: NodeOptions): Promise<readonly AgentStatus[]> {
  await using resources = new AsyncDisposableStack();
  // Read beside the documents.
  const opening = FolderState.open(given.state, { signal });
  opening.catch(() => {});
  resources.defer(async () => (await opening.catch(() => undefined))?.close());
  let current = await firstConfiguration(given, log);
  const state = await opening;
  const disks = await HostDiskFinder.open({ places: placesOf(current, given), state });
  resources.defer(() => disks.close());

  const agents: ControlledAgent[] = [];
  const statuses = () => agents.map(({ agent }) => agent.status);
  const metrics = new AgentMetrics(statuses);
  const report = new NodeReport({ statuses, manager: serviceManager(environment) });
  resources.defer(async () => report.stopping());
  const listen = given.listen ?? current.agent.listen;
  if (listen !== undefined && !given.once) {
    const health = { problem: () => report.problem(), gate: () => report.gate(), metrics: () => metrics.render() };
    const { serveHealth } = await import("../../agent/serve/health-server.ts");
    const server = resources.use(await serveHealth(listen, health));
    log({ event: "listening", fields: { address: server.address } });
  }
  const control = new AgentsControl(() => agents);
  resources.use(await serveControl({ path: given.socket, control, version: version() }));

  const node: NodeParts = {
    configuration: given.configuration,
    state,
    disks,
    current: () => current,
    onConfiguration: (configuration) => {
      const before = JSON.stringify(placesOf(current, given));
      current = configuration;
      const places = placesOf(configuration, given);
      if (JSON.stringify(places) === before) return;
      // What a look did not see, the next one does.
      void disks.configure(places).catch((error) => log({ event: "disk-search-failed", fields: errorFields(error) }));
    },
    metrics,
    environment,
    log,
  };
  const memory = new QuietMemory();
  resources.defer(() => memory.stop());
  const running: Promise<AgentStatus>[] = [];
  const known = new Set<string>();
  const begin = async (found: FoundRuntime) => {
    const key = JSON.stringify(found);
    if (known.has(key)) return;
    const opened = await openNodeAgent(found, node);
    resources.use(opened);
    known.add(key);
    agents.push(opened);
    log({ event: "runtime-found", runtime: opened.runtime.name, fields: {} });
    void report.follow(opened.agent.changes({ signal }));
    void noteAll(opened.agent.changes({ signal }), memory);
    running.push(opened.agent.run({ signal, once: given.once }));
  };
  await search(given, () => current, begin, log, signal);
  // Ends with the agents; a runtime that comes later gets one of its own.
  const later = given.once ? Promise.resolve() : searchOn(given, () => current, begin, log, signal);
  const results: AgentStatus[] = [];
  // The list grows while it is gone through.
  for (const each of running) results.push(await each);
  await later;
  return results;
}

async function noteAll(changes: AsyncIterable<void>, memory: QuietMemory): Promise<void> {
  for await (const _ of changes) memory.note();
}

/** While the documents cannot be used the agent waits for better ones, with all defaults. With `once` that is the end. */
async function firstConfiguration({ configuration, once }: AgentArguments, log: Log): Promise<Configuration> {
  try {
    return await readConfiguration(configuration);
  } catch (error) {
    if (once || !(error instanceof CodedError)) throw error;
    log({ event: "configuration-invalid", fields: { error: error.message, code: error.code } });
    return { sets: [], agent: defaultAgentSpec() };
  }
}

function placesOf({ agent: { disks } }: Configuration, { diskFolders }: AgentArguments): DiskPlaces {
  return { folders: [...disks.folders, ...diskFolders], devices: disks.devices, allow: disks.allow };
}

type Begin = (found: FoundRuntime) => Promise<void>;

/** Waits for the first runtime. With `once` there must be one now. */
async function search(
  given: AgentArguments,
  current: () => Configuration,
  begin: Begin,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  let said = "";
  for (;;) {
    signal.throwIfAborted();
    try {
      for (const found of await findRuntimes(given.request, current().agent.docker)) await begin(found);
      return;
    } catch (error) {
      if (given.once || !(error instanceof CodedError)) throw error;
      if (error.message !== said) log({ event: "runtime-missing", fields: { error: error.message, code: error.code } });
      said = error.message;
    }
    await sleep(firstSearchMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

async function searchOn(
  given: AgentArguments,
  current: () => Configuration,
  begin: Begin,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  let said = "";
  while (!signal.aborted) {
    await sleep(nextSearchMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    try {
      for (const found of await findRuntimes(given.request, current().agent.docker)) await begin(found);
    } catch (error) {
      // Those that are kept warm may be away for a moment: their agents say so.
      const message = error instanceof Error ? error.message : String(error);
      if (!(error instanceof CodedError) && message !== said)
        log({ event: "runtime-search-failed", fields: errorFields(error) });
      said = message;
    }
  }
}
