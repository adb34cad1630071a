import { setTimeout as sleep } from "node:timers/promises";
import type { AgentDiskStatus, AgentStatus, ImageStatus } from "../../src/agent/status.ts";
import { nodeLayout } from "../../src/publish/seed/node-layout.ts";
import type { NodeFile } from "../../src/publish/seed/units.ts";
import type { Scope } from "../support/temporary.ts";
import { bootFiles } from "./boot-files.ts";
import { debianRoot } from "./debian-root.ts";
import type { MachineOptions } from "./emulator.ts";
import { bootTimeoutMs, type CommandResult, Machine } from "./machine.ts";

/** A machine whose containerd answers. */
export async function boot(scope: Scope, options: Omit<MachineOptions, "boot">): Promise<Machine> {
  const machine = await Machine.start(scope, { ...options, boot: await bootFiles(await debianRoot()) });
  // Not by its version: with that, containerd reads its own UUID from a file that it does not sync and that a power cut may leave empty.
  await machine.eventually("ctr namespaces ls", bootTimeoutMs);
  return machine;
}

/** A document for the node's configuration folder; JSON is YAML. */
export function document(kind: "AgentConfig" | "ImageSet", name: string, spec: object): NodeFile {
  const text = JSON.stringify({ apiVersion: "nodewarm.io/v1alpha1", kind, metadata: { name }, spec });
  return { path: `${nodeLayout.configuration}/${name}.yaml`, text };
}

/** What the agent of the machine says over its socket; `undefined` when it does not. */
export async function agentStatus(machine: Machine): Promise<AgentStatus | undefined> {
  const { code, output } = await machine.run("nodewarm status --json 2>/dev/null");
  if (code !== 0) return undefined;
  const { agent }: { readonly agent?: { readonly runtimes: readonly AgentStatus[] } } = JSON.parse(output);
  return agent?.runtimes[0];
}

/** Asks the agent until a condition holds of what it says; the status then. */
export async function untilAgent(
  machine: Machine,
  what: string,
  condition: (status: AgentStatus) => boolean,
  timeoutMs = bootTimeoutMs,
): Promise<AgentStatus> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const status = await agentStatus(machine);
    if (status !== undefined && condition(status)) return status;
    if (Date.now() > end) {
      const { output } = await machine.run("journalctl --no-pager -u nodewarm | tail -n 60");
      throw new Error(
        `waited in vain until ${what}; the agent says ${JSON.stringify(status, undefined, 1)}\n${output}`,
      );
    }
    await sleep(500);
  }
}

/** Waits until the unit is started, which it is when the gated images are warm. */
export async function untilReady(machine: Machine, timeoutMs = bootTimeoutMs): Promise<void> {
  await machine.eventually("systemctl is-active nodewarm", timeoutMs).catch(async (error: Error) => {
    const { output } = await machine.run("systemctl status nodewarm; journalctl --no-pager -u nodewarm | tail -n 60");
    throw new Error(`${error.message}\n${output}`);
  });
}

/** Waits until there are images under these names and the agent says that they are warm, which it may have said before it noticed otherwise. */
export async function untilWarm(machine: Machine, ...names: readonly string[]): Promise<void> {
  for (const name of names) await machine.eventually(`ctr -n k8s.io images ls -q | grep -xF ${name}`);
  await untilAgent(machine, `${names.join(", ")} are warm`, (status) => isWarm(status, ...names));
}

export function isWarm({ images }: AgentStatus, ...names: readonly string[]): boolean {
  return names.every((name) => imageOf(images, name)?.phase === "Warm");
}

export function imageOf(images: readonly ImageStatus[], name: string): ImageStatus | undefined {
  return images.find((image) => image.name === name);
}

export function diskOf({ disks }: AgentStatus, id: string): AgentDiskStatus | undefined {
  return disks.find((disk) => disk.id === id);
}

let started = 0;

/** Runs a container to its end, with what the image runs or `command`; nothing is fetched for it. */
export async function tryContainer(machine: Machine, image: string, command = ""): Promise<CommandResult> {
  return machine.run(`ctr -n k8s.io run --rm ${image} test-${++started} ${command} 2>&1`);
}

/** As `tryContainer`, for what must succeed; its output. */
export async function runContainer(machine: Machine, image: string, command = ""): Promise<string> {
  const { code, output } = await tryContainer(machine, image, command);
  if (code === 0) return output;
  const { output: journal } = await machine.run("journalctl --no-pager -u nodewarm | tail -n 40");
  throw new Error(`a container of ${image} ended with ${code}: ${output}\n${journal}`);
}

/** Forces a collection of garbage, and waits for it. */
export async function collectGarbage(machine: Machine, image: string): Promise<void> {
  await machine.succeed(
    `ctr -n k8s.io images tag --force ${image} example.com/to/delete:v1 && ctr -n k8s.io images rm --sync example.com/to/delete:v1`,
  );
}
