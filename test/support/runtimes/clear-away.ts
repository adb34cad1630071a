import { readdir, readFile, readlink, rm, rmdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../processes.ts";

/**
 * Ends every process that belongs to a runtime's folder and undoes what it left: mounts below the folder, control groups,
 * sockets of shims, and the folder itself. Nothing else is touched: processes are found by the folder in their command line
 * or as their working folder, and by descent from those. Throws when something stays.
 */
export async function clearAway(directory: string): Promise<void> {
  const groups = new Set<string>();
  await endProcesses(directory, groups);
  const sockets = await shimSockets(directory);
  await unmountBelow(directory);
  for (const socket of sockets) await rm(socket, { force: true });
  for (const group of groups) await removeGroups(group);
  for (const hierarchy of await groupHierarchies()) await removeGroups(join(hierarchy, basename(directory)));
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** Ids of the processes of a runtime's folder: daemons, shims, containers. */
export async function processesOf(directory: string): Promise<number[]> {
  const children = new Map<number, number[]>();
  const found = new Set<number>();
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const status = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
    // After the name in parentheses: state, parent (proc(5)). A dead process that waits for its parent is no leftover.
    const [state, parent] = (status?.slice(status.lastIndexOf(")") + 2) ?? "Z").split(" ");
    if (state === "Z" || state === "X") continue;
    children.set(Number(parent), [...(children.get(Number(parent)) ?? []), pid]);
    if (await belongsTo(pid, directory)) found.add(pid);
  }
  for (const pid of found) {
    for (const child of children.get(pid) ?? []) found.add(child);
  }
  return [...found];
}

/** Mount points below a folder, those mounted first at the front. */
export async function mountsBelow(directory: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  const points = table.split("\n").map((line) => unescapeMountPoint(line.split(" ")[4] ?? ""));
  return points.filter((point) => point.startsWith(`${directory}/`));
}

async function belongsTo(pid: number, directory: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
  if (command.includes(`${directory}/`)) return true;
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => "");
  return folder.startsWith(`${directory}/`);
}

async function endProcesses(directory: string, groups: Set<string>): Promise<void> {
  const end = Date.now() + 15_000;
  for (;;) {
    const pids = await processesOf(directory);
    if (pids.length === 0) return;
    if (Date.now() > end) throw new Error(`processes of ${directory} do not end: ${pids.join(", ")}`);
    for (const pid of pids) {
      for (const group of await groupsOf(pid)) groups.add(group);
    }
    for (const pid of pids) kill(pid);
    await sleep(20);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** Folders of the control groups that a process is in and this process is not. */
async function groupsOf(pid: number): Promise<string[]> {
  const [own, its] = await Promise.all(
    ["self", String(pid)].map(async (name) =>
      (await readFile(`/proc/${name}/cgroup`, "utf8").catch(() => "")).split("\n"),
    ),
  );
  const folders: string[] = [];
  for (const line of its ?? []) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.+)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined || own?.includes(line)) continue;
    const hierarchies = controllers === "" ? ["unified", ""] : [controllers.replace(/^name=/, "")];
    folders.push(...hierarchies.map((name) => join("/sys/fs/cgroup", name, path)));
  }
  return folders;
}

async function groupHierarchies(): Promise<string[]> {
  const names = await readdir("/sys/fs/cgroup").catch(() => []);
  return ["/sys/fs/cgroup", ...names.map((name) => join("/sys/fs/cgroup", name))];
}

/** Groups are removed folder by folder; their files go with them. One that is gone or in use stays as it is. */
async function removeGroups(group: string): Promise<void> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeGroups(join(group, entry.name));
  await rmdir(group).catch(() => {});
}

/** A shim listens outside of containerd's folders; its bundle names the socket. */
async function shimSockets(directory: string): Promise<string[]> {
  const tasks = join(directory, "state/io.containerd.runtime.v2.task");
  const names = await readdir(tasks, { recursive: true }).catch(() => []);
  const sockets: string[] = [];
  for (const name of names.filter((path) => /^[^/]+\/[^/]+\/(address|bootstrap\.json)$/.test(path))) {
    const text = await readFile(join(tasks, name), "utf8").catch(() => "");
    sockets.push(...[...text.matchAll(/unix:\/\/([^\s"]+)/g)].map((match) => match[1] ?? ""));
  }
  return sockets;
}

async function unmountBelow(directory: string): Promise<void> {
  const end = Date.now() + 10_000;
  for (;;) {
    const points = (await mountsBelow(directory)).reverse();
    if (points.length === 0) return;
    const failed: unknown[] = [];
    for (const point of points) await run("umount", ["-i", point]).catch((error) => failed.push(error));
    if (failed.length === 0) continue;
    if (Date.now() > end) throw new AggregateError(failed, `mounts below ${directory} stay`);
    await sleep(100);
  }
}

/** proc(5): space, tab, newline and backslash stand as three octal digits. */
function unescapeMountPoint(point: string): string {
  return point.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
