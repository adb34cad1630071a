import { ChangeSignal } from "../disks/change-signal.ts";
import type { ConfigurationEvent, ConfigurationSource } from "./configuration.ts";

/** Wishes that are only said, for tests. */
export class MemoryConfiguration implements ConfigurationSource {
  readonly #changed = new ChangeSignal();
  #last: ConfigurationEvent | undefined;

  /** What is told from now on. */
  tell(event: ConfigurationEvent): void {
    this.#last = event;
    this.#changed.tell();
  }

  async *changes({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<ConfigurationEvent, void, undefined> {
    const changes = this.#changed.read(signal);
    if (this.#last !== undefined) yield this.#last;
    for await (const _ of changes) if (this.#last !== undefined) yield this.#last;
  }
}
