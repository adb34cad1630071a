import type { AgentDiskStatus, AgentStatus, ImageStatus } from "../../agent/status.ts";
import type { User } from "../../runtime/runtime.ts";
import { formatBytes, shortDigest, shortImage } from "../format.ts";
import { describeUsers } from "../inject/eject-progress.ts";
import { describeConditions } from "../inject/inject-report.ts";
import { renderTable } from "../table.ts";

/** Of an image or disk, in its row. */
const holdersShown = 2;

/** What an agent says of one runtime, as people read it. */
export function describeAgent({ runtime, images, disks, sets, gate, conditions }: AgentStatus): string {
  const facts = renderTable([
    ["runtime", runtime],
    ["gate", `${gate.isReady ? "open" : "closed"}: ${gate.reason}`],
  ]);
  const imageRows = images.map((image) => ({
    IMAGE: shortImage(image.name),
    PHASE: image.phase,
    SOURCE: image.source ?? "",
    DIGEST: image.digest === undefined ? "" : shortDigest(image.digest),
    FOR: duration(image.phaseSeconds),
    AGE: optionalDuration(image.ageSeconds),
    RESOLVED: optionalDuration(image.resolvedSeconds, " ago"),
    SETS: image.sets.join(", "),
    "HELD BY": holders(image.heldBy),
  }));
  const diskRows = disks.map((disk) => ({
    DISK: disk.path,
    PHASE: disk.phase,
    ID: disk.id?.slice(0, 12) ?? "",
    LINE: disk.line === undefined ? "" : `${disk.line}, ${disk.sequence}`,
    DETACH: disk.isSafeToDetach ? "safe" : "",
    "HELD BY": holders(disk.heldBy),
  }));
  const tables = [titledTable(imageRows), titledTable(diskRows)];
  const notes = [...images.flatMap(imageNotes), ...disks.flatMap(diskNotes)];
  const more = describeConditions([
    ...conditions,
    ...sets.flatMap((set) => set.conditions),
    ...images.flatMap((image) => image.conditions),
    ...disks.flatMap((disk) => disk.conditions),
  ]);
  return `${facts}${tables.join("")}${notes.map((note) => `${note}\n`).join("")}${more}`;
}

/** As in a cell: ids and digests are as long as it takes to find them again. */
function holders(users: readonly User[]): string {
  const short = users.map(({ kind, name }) => ({
    kind,
    name: /^[0-9a-f]{64}$/.test(name) ? name.slice(0, 12) : shortImage(name),
  }));
  return describeUsers(short, holdersShown);
}

/** Columns that no row has anything in are left out; without rows there is no table. */
function titledTable<Column extends string>(rows: readonly Readonly<Record<Column, string>>[]): string {
  const [first] = rows;
  if (first === undefined) return "";
  const titles = (Object.keys(first) as Column[]).filter((title) => rows.some((row) => row[title] !== ""));
  return renderTable([titles, ...rows.map((row) => titles.map((title) => row[title]))]);
}

function imageNotes({ name, phase, reason, progress, lastError, retryInSeconds }: ImageStatus): string[] {
  const notes: string[] = [];
  if (progress !== undefined) {
    const there = progress.fetchedBytes + progress.presentBytes;
    notes.push(`${shortImage(name)}: ${formatBytes(there)} of ${formatBytes(progress.totalBytes)}`);
  }
  if (phase !== "Warm" && reason !== "") notes.push(`${shortImage(name)}: ${reason}`);
  if (lastError !== undefined && lastError !== reason) {
    const retry = retryInSeconds === undefined ? "" : ` (tried again in ${duration(retryInSeconds)})`;
    notes.push(`${shortImage(name)}: ${lastError}${retry}`);
  }
  return notes;
}

function diskNotes({ path, reason, checkedShare }: AgentDiskStatus): string[] {
  const share = checkedShare === undefined ? "" : ` (${Math.floor(checkedShare * 100)} %)`;
  return reason === "" && share === "" ? [] : [`${path}: ${reason}${share}`];
}

function optionalDuration(seconds: number | undefined, behind = ""): string {
  return seconds === undefined ? "" : `${duration(seconds)}${behind}`;
}

/** Short, as in "5m" or "3h". */
function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}
