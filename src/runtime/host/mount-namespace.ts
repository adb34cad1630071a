import { readlink } from "node:fs/promises";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { HostError } from "./host-error.ts";
import type { FromNamespace, NamespaceCall } from "./mount-namespace-protocol.ts";
import { type MountTable, readMountTable } from "./mount-table.ts";
import { call, errorCode, SystemCallError, type SystemCaller } from "./system-calls.ts";

/**
 * The mount namespace of some process, as a place to make system calls in. Paths of calls are those that the process sees.
 */
export interface MountNamespace {
  /** True where it is that of this program. */
  readonly isOwn: boolean;
  /** A process in it. */
  readonly processId: number | "self";
  /** Makes a call whose paths mean those of the namespace. */
  readonly call: SystemCaller;
  /** What is mounted in it. Throws `HostError`. */
  table(): Promise<MountTable>;
  /**
   * The same place as `path`, for the functions of `node:fs`. Absolute links on the way lead into the namespace of this
   * program: give paths that hold none.
   */
  localPath(path: string): string;
  /** May be called twice. */
  close(): Promise<void>;
}

/** The namespace of this program. */
export const ownMountNamespace: MountNamespace = {
  isOwn: true,
  processId: "self",
  call,
  table: () => readMountTable("self"),
  localPath: (path) => path,
  close: async () => {},
};

/** Whether a process and this program see the same mounts. Throws `HostError` when the process is gone or hidden. */
export async function sharesMountNamespace(pid: number): Promise<boolean> {
  const [own, other] = await Promise.all([readlink("/proc/self/ns/mnt"), namespaceOf(pid)]);
  return own === other;
}

/**
 * The mount namespace of a process, such as containerd. Where it is another one than ours, a thread enters it: mount(2) and
 * move_mount(2) refuse targets of other namespaces, `/proc/PID/root` included, and setns(2) refuses threads that share
 * their working directory with others. A worker thread that has given that up (unshare(2) with CLONE_FS) may enter, while
 * the rest of the program stays where it is. Throws `HostError`.
 */
export async function openMountNamespace(pid: number): Promise<MountNamespace> {
  if (await sharesMountNamespace(pid)) return ownMountNamespace;
  const thread = await NamespaceThread.start(pid);
  return {
    isOwn: false,
    processId: pid,
    call: (name, ...args) => thread.call({ name, args }),
    table: () => tableOf(pid),
    localPath: (path) => `/proc/${pid}/root${path}`,
    close: () => thread.close(),
  };
}

async function tableOf(pid: number): Promise<MountTable> {
  try {
    return await readMountTable(pid);
  } catch (error) {
    throw error instanceof HostError ? error : processError(pid, error);
  }
}

async function namespaceOf(pid: number): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/ns/mnt`);
  } catch (error) {
    throw processError(pid, error);
  }
}

function processError(pid: number, cause: unknown): HostError {
  const code = errorCode(cause);
  if (code === "EACCES" || code === "EPERM") {
    return new HostError("permission", `the mounts of process ${pid} can be seen by root only`, { cause });
  }
  return new HostError(
    "not-found",
    `process ${pid} cannot be found (${code}); it has ended, or this program runs in a container without the host's process ids (hostPID)`,
    { cause },
  );
}

type Waiting = { resolve(result: number): void; reject(error: unknown): void };

/** A thread inside a mount namespace that makes one call after the other. */
class NamespaceThread {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  #failure: Error | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (message: FromNamespace) => this.#receive(message));
    worker.on("error", (error) => this.#fail(error));
    worker.on("exit", () => this.#fail(new HostError("system", "the thread in the other mount namespace has ended")));
  }

  static async start(pid: number): Promise<NamespaceThread> {
    // Beside this file, be it a source or the bundle.
    const file = `./mount-namespace-worker${extname(import.meta.filename)}`;
    const worker = new Worker(new URL(file, import.meta.url), { workerData: pid });
    const thread = new NamespaceThread(worker);
    try {
      await new Promise<number>((resolve, reject) => thread.#waiting.push({ resolve, reject }));
      return thread;
    } catch (error) {
      await thread.close();
      if (!(error instanceof SystemCallError)) throw processError(pid, error);
      throw new HostError(
        error.code === "EPERM" ? "permission" : "not-supported",
        `the mount namespace of process ${pid} cannot be entered (${error.message}): root with CAP_SYS_ADMIN and CAP_SYS_CHROOT is needed; ` +
          "or run this program in the same mount namespace (on the host, or in a privileged container with hostPID)",
        { cause: error },
      );
    }
  }

  call(message: NamespaceCall): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(message);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(message: FromNamespace): void {
    const waiting = this.#waiting.shift();
    if ("result" in message) waiting?.resolve(message.result);
    else if ("errno" in message) waiting?.reject(new SystemCallError(message.call, message.errno));
    else waiting?.reject(Object.assign(new Error(message.text), { code: message.code }));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
