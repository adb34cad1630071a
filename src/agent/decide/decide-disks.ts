import type { DiskStatus } from "../../runtime/runtime.ts";
import { isDead as isLost } from "../desired/wanted-disks.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";
import type { AgentDiskStatus, DiskPhase } from "../status.ts";
import { keyOf } from "./action.ts";
import { type Away, awayOf, isSameDisk, troubleOf } from "./away-disks.ts";
import type { Plan } from "./plan.ts";
import { awayEndMs, isWarm, type View } from "./world.ts";

/** Users of disks come and go without an event. */
const lookAgainMs = 30_000;

/** What is to become of each disk that is found or injected, and what is to be said of it. */
export function decideDisks(view: View, plan: Plan): readonly AgentDiskStatus[] {
  const injected = view.injected.map((status) => decideInjected(view, plan, status));
  const ids = new Set(view.injected.map(({ id }) => id));
  const shown = view.injected.filter(({ id }) => !view.record.holds.includes(id));
  const others = view.found.filter((found) => {
    if (found.state === "trusted") return !ids.has(found.identity?.id ?? "");
    return !shown.some((status) => isSameDisk(status, found));
  });
  injectByHand(view, plan);
  return [...injected, ...others.map((found) => decideFound(view, plan, found))];
}

function decideInjected(view: View, plan: Plan, status: DiskStatus): AgentDiskStatus {
  const { record, usableById } = view;
  const { id } = status;
  const same = view.found.find((found) => isSameDisk(status, found));
  const tell = (phase: DiskPhase, reason = "") =>
    statusOf(status, same, view.running.has(`disk ${id}`) ? running(view, id, phase) : phase, reason);
  if (record.holds.includes(id)) {
    if (status.isMounted && status.heldBy.length > 0 && awayOf(status, view.found)?.isWrong)
      plan.add({ type: "cut-off", disk: id });
    ejectUnused(view, plan, status);
    return tell("Held", "ejected by a person, and still in use");
  }
  const usable = usableById.get(id);
  // One that is trusted is mounted anew first (`Injections`).
  if (usable !== undefined && troubleOf(status) === undefined) {
    if (usable.replacedBy === undefined || isNeeded(view, id)) return tell("Injected");
    if (isReady(view, usable.replacedBy)) ejectUnused(view, plan, status);
    return tell("Replaced", `disk ${usable.replacedBy.slice(0, 12)} takes its place`);
  }
  const away = awayOf(status, view.found);
  if (away === undefined) return tell("Injected");
  if (isFromElsewhere(view, status)) {
    plan.add({ type: "adopt", disk: id, path: status.source, images: status.images.flatMap(namesToAsk) });
    return tell("Injected");
  }
  letGoOf(view, plan, status, away);
  return tell("Away", away.reason);
}

function decideFound(view: View, plan: Plan, found: FoundDisk): AgentDiskStatus {
  const { record, usableById, holders, policy, injected } = view;
  const { path, identity, state, reason, checkedShare, kind } = found;
  const heldBy = holders.get(path);
  const isSafe = heldBy?.length === 0;
  const told = (phase: DiskPhase, why: string): AgentDiskStatus => ({
    path,
    phase,
    reason: why,
    ...(identity && { id: identity.id, line: identity.line, sequence: identity.sequence }),
    ...(checkedShare !== undefined && { checkedShare }),
    isSafeToDetach: isSafe,
    heldBy: heldBy ?? [],
    conditions: [],
  });
  if (state === "checking") return told("Checking", identity === undefined ? reason : "its bytes are being verified");
  if (state === "refused") return told("Refused", reason);
  if (state === "broken" || identity === undefined) return told("Broken", reason);
  if (record.holds.includes(identity.id)) return told(isSafe ? "Released" : "Held", "ejected by a person");
  const usable = usableById.get(identity.id);
  const newer = usable?.replacedBy;
  if (newer === undefined || isNeeded(view, identity.id)) {
    const failure = view.memory.failures.get(`disk ${identity.id}`);
    const isRunning = view.running.has(`disk ${identity.id}`);
    return told(isRunning ? "Injecting" : "Waiting", failure?.message ?? "");
  }
  if (!isSafe) plan.wakeAt(view.nowMs + lookAgainMs);
  else if (policy.removesReleased && kind === "file" && injected.some(({ id, isMounted }) => id === newer && isMounted))
    plan.add({ type: "remove-file", disk: identity.id, path });
  return told(isSafe ? "Released" : "Replaced", `disk ${newer.slice(0, 12)} has taken its place`);
}

/** Those by which an image can be asked of its disk: not `repository@digest`, which injection adds, unless it has no other. */
function namesToAsk({ names }: DiskStatus["images"][number]): readonly string[] {
  const tags = names.filter((name) => !name.includes("@"));
  return tags.length > 0 ? tags : names;
}

/** What a person injected is injected again, from where it was, also where no folder holds it. */
function injectByHand({ record, statusById, usableById }: View, plan: Plan): void {
  for (const [disk, { path, images }] of Object.entries(record.byHand)) {
    if (usableById.has(disk) || record.holds.includes(disk) || statusById.get(disk)?.isMounted) continue;
    plan.add({ type: "inject", disk, path, ...(images && { images }), force: false, keepTags: [], names: [] });
  }
}

/**
 * Of a disk that has been away for too long nothing is left that would seem to be usable, and its links lead nowhere, so that what is listed is
 * fetched. Containers keep its mount. What is known to be wrong cannot be started until then either.
 */
function letGoOf(view: View, plan: Plan, status: DiskStatus, away: Away): void {
  const { nowMs, observation } = view;
  const { id, isMounted, heldBy } = status;
  const endMs = awayEndMs(view, id);
  if (endMs > nowMs) {
    plan.wakeAt(endMs);
    if (isMounted && away.isWrong) plan.add({ type: "cut-off", disk: id });
    return;
  }
  if (isMounted && heldBy.length > 0) plan.add({ type: "cut-off", disk: id });
  if (isDead(view, status)) {
    for (const { name, digest, origin } of observation.images)
      if (origin.from === "disk" && origin.disk === id)
        plan.add({ type: "release", name, digest, how: "remove", why: "disk-away" });
  }
  ejectUnused(view, plan, status);
}

/** Nothing of it can be started: its mount or its bytes are gone, by the same look that says which images are warm. */
function isDead({ observation }: View, status: DiskStatus): boolean {
  return isLost(status, observation.contents);
}

function ejectUnused({ nowMs }: View, plan: Plan, { id, heldBy }: DiskStatus): void {
  if (heldBy.length > 0) plan.wakeAt(nowMs + lookAgainMs);
  else plan.add({ type: "eject", disk: id });
}

/** Whether a wanted image comes from that disk for want of a better one. */
function isNeeded({ desired }: Pick<View, "desired">, id: string): boolean {
  return desired.some(({ disks }) => disks[0]?.id === id);
}

/** Whether a disk has taken over: it is injected, and each of its images that is wanted is warm. */
function isReady(view: View, id: string): boolean {
  if (view.statusById.get(id)?.isMounted !== true) return false;
  return view.desired.every((image) => image.disks[0]?.id !== id || isWarm(view, image));
}

/** Somebody injected it by hand without the agent: neither is it in a place of ours, nor has it been. */
function isFromElsewhere(view: View, status: DiskStatus): boolean {
  const { record, policy, memory, found } = view;
  const { id, source } = status;
  if (found.some(({ path }) => path === source)) return false;
  if (Object.hasOwn(record.byHand, id) || Object.hasOwn(record.seenDisks, id) || memory.everFound.has(id)) return false;
  return !isDead(view, status) && !policy.diskFolders.some((folder) => source.startsWith(`${folder}/`));
}

function running(view: View, id: string, phase: DiskPhase): DiskPhase {
  const type = view.running.get(keyOf({ type: "eject", disk: id }));
  if (type === "eject") return "Ejecting";
  return type === "inject" ? "Injecting" : phase;
}

/** `found`: what the finder says of the same disk. */
function statusOf(status: DiskStatus, found: FoundDisk | undefined, phase: DiskPhase, reason: string): AgentDiskStatus {
  const { id, line, sequence, source, heldBy } = status;
  const conditions = [...status.conditions, ...(found?.conditions ?? [])];
  const isChecked = found?.state === "checking" && phase === "Injected";
  return {
    path: source,
    phase,
    reason: isChecked ? found.reason : reason,
    id,
    line,
    sequence,
    ...(found?.checkedShare !== undefined && { checkedShare: found.checkedShare }),
    isSafeToDetach: false,
    heldBy,
    conditions,
  };
}
