import { isRuntimeError, RuntimeError } from "./runtime-error.ts";

/** A node, and how many work with it. */
type Opened<Node> = { readonly node: Node; users: number; isOld: boolean };

/**
 * A runtime that was opened, for as long as a program runs: when the daemon was started again, perhaps as another version or in another
 * mount namespace, it is opened anew. Shared by all who work with it.
 */
export class ReopenedNode<Node extends { close(): Promise<void> }> {
  readonly #reopen: (before: Node) => Promise<Node | undefined>;
  #opened: Opened<Node>;
  #isSuspect = false;
  #opening: Promise<void> | undefined;
  #isClosed = false;

  /** Takes over `node`. `reopen`: opens the daemon that runs now, `undefined` when it is the same one. */
  constructor(node: Node, reopen: (before: Node) => Promise<Node | undefined>) {
    this.#opened = { node, users: 0, isOld: false };
    this.#reopen = reopen;
  }

  /** As it was last seen. */
  get last(): Node {
    return this.#opened.node;
  }

  /** The next who works with it looks first whether it is the same daemon. */
  suspect(): void {
    this.#isSuspect = true;
  }

  /** Throws what `work` throws, and what opening does; `cancelled` after `close`. */
  async use<Result>(work: (node: Node) => Promise<Result>): Promise<Result> {
    if (this.#isSuspect && !this.#isClosed) {
      this.#opening ??= this.#renew().finally(() => {
        this.#opening = undefined;
      });
      await this.#opening;
    }
    if (this.#isClosed) throw new RuntimeError("cancelled", "The connection to the runtime was closed by its owner");
    const opened = this.#opened;
    opened.users++;
    try {
      return await work(opened.node);
    } catch (error) {
      if (isRuntimeError(error, "unavailable")) this.suspect();
      throw error;
    } finally {
      opened.users--;
      await closeIfUnused(opened);
    }
  }

  /** May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#opened.node.close();
  }

  async #renew(): Promise<void> {
    this.#isSuspect = false;
    try {
      const old = this.#opened;
      const node = await this.#reopen(old.node);
      if (node === undefined) return;
      if (this.#isClosed) return await node.close();
      this.#opened = { node, users: 0, isOld: false };
      old.isOld = true;
      await closeIfUnused(old);
    } catch (error) {
      this.#isSuspect = true;
      throw error;
    }
  }
}

async function closeIfUnused<Node extends { close(): Promise<void> }>(opened: Opened<Node>): Promise<void> {
  if (!opened.isOld || opened.users > 0) return;
  opened.isOld = false;
  await opened.node.close();
}
