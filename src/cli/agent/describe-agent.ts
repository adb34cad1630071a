import type { AgentDiskStatus, AgentStatus, ImageStatus } from "../../agent/status.ts";
import { formatBytes, shortDigest, shortImage } from "../format.ts";
import { describeUsers } from "../inject/eject-progress.ts";
import { describeConditions } from "../inject/inject-report.ts";
import { renderTable } from "../table.ts";

/** What an agent says of one runtime, as people read it. */
export function describeAgent({ runtime, images, disks, sets, gate, conditions }: AgentStatus): string {
  const facts = renderTable([
    ["runtime", runtime],
    ["gate", `${gate.isReady ? "open" : "closed"}: ${gate.reason}`],
  ]);
  const imageRows = images.map((image) => [
    shortImage(image.name),
    image.phase,
    image.source ?? "",
    image.digest === undefined ? "" : shortDigest(image.digest),
    age(image.phaseSeconds),
    image.sets.join(", "),
  ]);
  const diskRows = disks.map((disk) => [
    disk.path,
    disk.phase,
    disk.id?.slice(0, 12) ?? "",
    disk.line === undefined ? "" : `${disk.line}, ${disk.sequence}`,
    disk.isSafeToDetach ? "may be detached" : "",
  ]);
  const tables = [
    ...(imageRows.length > 0
      ? [renderTable([["IMAGE", "PHASE", "SOURCE", "DIGEST", "FOR", "SETS"], ...imageRows])]
      : []),
    ...(diskRows.length > 0 ? [renderTable([["DISK", "PHASE", "ID", "LINE", ""], ...diskRows])] : []),
  ];
  const notes = [...images.flatMap(imageNotes), ...disks.flatMap(diskNotes)];
  const more = describeConditions([
    ...conditions,
    ...sets.flatMap((set) => set.conditions),
    ...images.flatMap((image) => image.conditions),
    ...disks.flatMap((disk) => disk.conditions),
  ]);
  return `${facts}${tables.join("")}${notes.map((note) => `${note}\n`).join("")}${more}`;
}

function imageNotes({ name, phase, reason, progress, lastError, retryInSeconds, heldBy }: ImageStatus): string[] {
  const notes: string[] = [];
  if (progress !== undefined) {
    const there = progress.fetchedBytes + progress.presentBytes;
    notes.push(`${shortImage(name)}: ${formatBytes(there)} of ${formatBytes(progress.totalBytes)}`);
  }
  if (phase !== "Warm" && reason !== "") notes.push(`${shortImage(name)}: ${reason}`);
  if (lastError !== undefined && lastError !== reason) {
    const retry = retryInSeconds === undefined ? "" : ` (tried again in ${age(retryInSeconds)})`;
    notes.push(`${shortImage(name)}: ${lastError}${retry}`);
  }
  if (heldBy.length > 0 && phase !== "Warm") notes.push(`${shortImage(name)}: used by ${describeUsers(heldBy)}`);
  return notes;
}

function diskNotes({ path, reason, checkedShare, heldBy }: AgentDiskStatus): string[] {
  const share = checkedShare === undefined ? "" : ` (${Math.floor(checkedShare * 100)} %)`;
  const held = heldBy.length === 0 ? "" : `; held by ${describeUsers(heldBy)}`;
  return reason === "" && held === "" ? [] : [`${path}: ${reason}${share}${held}`];
}

/** Short, as in "5m" or "3h". */
function age(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}
