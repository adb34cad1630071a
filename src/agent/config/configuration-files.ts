import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { causeText } from "../../oci/oci-error.ts";
import { AgentError } from "../agent-error.ts";
import type { Configuration, ConfigurationEvent, ConfigurationSource } from "./configuration.ts";
import { configurationFiles, readConfiguration } from "./read-configuration.ts";

export type WatchTimes = {
  /** An editor writes in several steps. */
  readonly settleMs: number;
  /** Between looks where the kernel tells of changes: some file systems, and targets of links, are not told. */
  readonly slowPollMs: number;
  /** Between looks where it does not, because limits are reached. */
  readonly fastPollMs: number;
};

const defaultTimes: WatchTimes = { settleMs: 50, slowPollMs: 30_000, fastPollMs: 2000 };

/** The documents of a file or a folder, and whenever they change. A problem is told once, not with every look. */
export class ConfigurationFiles implements ConfigurationSource {
  readonly #path: string;
  readonly #times: WatchTimes;
  readonly #watch: typeof watch;

  /** `startWatch`: `fs.watch`, or what stands for it. */
  constructor(path: string, times = defaultTimes, startWatch: typeof watch = watch) {
    this.#path = path;
    this.#times = times;
    this.#watch = startWatch;
  }

  async *changes({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<ConfigurationEvent, void, undefined> {
    let read: string | undefined;
    let told = "";
    while (!signal.aborted) {
      // The watch is there before the look, so that nothing falls between them.
      using changed = this.#startWatch();
      const stamp = await fingerprint(this.#path);
      if (stamp !== read) {
        const event = await readEvent(this.#path);
        // Files that changed under the reading are read once more.
        if ((await fingerprint(this.#path)) !== stamp) {
          await pause(this.#times.settleMs, signal);
          continue;
        }
        read = stamp;
        const text = JSON.stringify(event);
        if (text !== told) yield event;
        told = text;
      }
      await changed.wait(signal);
      await pause(this.#times.settleMs, signal);
    }
  }

  /** Resolves at the next change, or when it is time to look. */
  #startWatch(): Disposable & { wait(signal: AbortSignal): Promise<void> } {
    const happened = new AbortController();
    const watchers = [this.#path, dirname(this.#path)].flatMap((path): FSWatcher[] => {
      try {
        const watcher = this.#watch(path, { persistent: false }, () => happened.abort());
        watcher.on("error", () => happened.abort());
        return [watcher];
      } catch {
        return [];
      }
    });
    const pollMs = watchers.length === 2 ? this.#times.slowPollMs : this.#times.fastPollMs;
    return {
      wait: (signal) => pause(pollMs, AbortSignal.any([signal, happened.signal])),
      [Symbol.dispose]: () => {
        for (const watcher of watchers) watcher.close();
      },
    };
  }
}

async function readEvent(path: string): Promise<ConfigurationEvent> {
  try {
    const configuration: Configuration = await readConfiguration(path);
    return { type: "configuration", configuration };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { type: "problem", message: error.message };
  }
}

/** Changes whenever the files do: names, inodes, sizes and times. */
async function fingerprint(path: string): Promise<string> {
  try {
    const files = await configurationFiles(path);
    const parts = files.map(async (file) => {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      return [file, dev, ino, size, mtimeNs, ctimeNs].join(" ");
    });
    return (await Promise.all(parts)).join("\n");
  } catch (error) {
    return causeText(error);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
