import { randomUUID } from "node:crypto";
import type { Digest } from "../../../oci/descriptor.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { Channel, Conversation } from "./channel.ts";
import { contentMethods as methods, type statusMessage, writeAction } from "./content-messages.ts";
import type { CallOptions } from "./grpc-call.ts";
import type { Labels } from "./label.ts";
import type { Decoded, Encodable } from "./message.ts";

/** A blob that is to be in the namespace. */
export type NewBlob = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Of the record. */
  readonly labels?: Labels;
  /** Names the ingest while it is written; two of one name at once give `unavailable`. Default: made of the digest. */
  readonly ref?: string;
};

/** `present`: the namespace had the blob before; its labels stay as they were. A lease of the call holds it either way. */
export type WriteResult = "written" | "present";

/** Adds blobs to a namespace. */
export type ContentWriter = {
  /** Writes bytes that are at hand. Throws `failed-precondition` when they are not what digest and size say. */
  write(blob: NewBlob, data: Uint8Array, options?: CallOptions): Promise<WriteResult>;
  /**
   * Makes a record for a blob whose file is in the store already, without moving a byte; containerd trusts the file. Throws
   * `failed-precondition` when the store has no such file or does not share its blobs.
   */
  claim(blob: NewBlob, options?: CallOptions): Promise<WriteResult>;
  /** For blobs that come in pieces. `undefined` when the namespace has the blob. */
  open(blob: NewBlob, options?: CallOptions): Promise<BlobWriter | undefined>;
};

/** One blob on its way. */
export type BlobWriter = {
  /** Bytes that the store has: those of an earlier, interrupted ingest of this name, or all of another namespace's blob. */
  readonly offset: number;
  /** Appends; resolves when containerd has taken it. */
  write(data: Uint8Array): Promise<void>;
  /** Throws `failed-precondition` when the bytes are not what digest and size say. */
  commit(): Promise<WriteResult>;
  /** Frees the writer. What was written and not committed stays as an ingest, to be continued or aborted. */
  close(): Promise<void>;
};

export type Ingest = Pick<Decoded<typeof statusMessage>, "ref" | "offset" | "total">;

/** Blobs that are being written, or were when someone stopped. */
export type IngestService = {
  /** Throws `not-found`. */
  status(ref: string, options?: CallOptions): Promise<Ingest>;
  list(filters?: readonly string[], options?: CallOptions): Promise<Ingest[]>;
  /** Throws `not-found`. */
  abort(ref: string, options?: CallOptions): Promise<void>;
};

/** containerd takes messages of 16 MiB; it writes what arrives at once, so larger pieces gain nothing. */
const pieceBytes = 1 << 20;

type Write = typeof methods.write;

export function contentWriter(channel: Channel): ContentWriter {
  const converse = (options?: CallOptions) => channel.converse(methods.write, { timeoutMs: 60_000, ...options });
  /** Wrong bytes must not wait for containerd's own clean-up of ingests, a day later. */
  const abandon = (blob: NewBlob, options?: CallOptions) =>
    ingestService(channel)
      .abort(refOf(blob), options)
      .catch(() => {});

  return {
    async write(wanted, data, options) {
      const last = Math.max(0, Math.ceil(data.length / pieceBytes) - 1) * pieceBytes;
      for (let attempt = 1; ; attempt++) {
        // What a containerd that was killed had taken of an earlier write stands before our bytes, and it keeps that under the
        // name where another namespace has the blob by now (`core/metadata/content.go`, Abort).
        const blob = attempt === 1 ? wanted : { ...wanted, ref: `${refOf(wanted)}-${randomUUID()}` };
        const conversation = converse(options);
        try {
          return await untilPresent(conversation, async () => {
            for (let offset = 0; offset < last; offset += pieceBytes) {
              const piece = data.subarray(offset, offset + pieceBytes);
              await ask(conversation, { ...start(blob), action: writeAction.write, offset, data: piece });
            }
            // Small blobs are one message: opened, written and committed in one go.
            await ask(conversation, { ...commit(blob), offset: last, data: data.subarray(last) });
          });
        } catch (error) {
          if (!isRuntimeError(error, "failed-precondition")) throw error;
          await abandon(blob, options);
          if (attempt === 2) throw error;
        }
      }
    },
    async claim(blob, options) {
      const conversation = converse(options);
      try {
        // An offset of 0 would make containerd truncate what it just found.
        return await untilPresent(conversation, () => ask(conversation, { ...commit(blob), offset: blob.sizeBytes }));
      } catch (cause) {
        // The writer that was opened is one for new bytes, of which there are none.
        if (!isRuntimeError(cause, "out-of-range", "failed-precondition")) throw cause;
        await abandon(blob, options);
        throw new RuntimeError(
          "failed-precondition",
          `containerd on ${channel.address} does not find ${blob.digest} in its store, or keeps the blobs of its namespaces apart ` +
            "(content_sharing_policy): write the blob instead",
          { cause },
        );
      }
    },
    async open(blob, options) {
      const conversation = channel.converse(methods.write, options);
      try {
        const { offset } = await ask(conversation, { ...start(blob), action: writeAction.stat });
        return new OpenBlob(conversation, blob, offset);
      } catch (error) {
        await conversation.close();
        if (isRuntimeError(error, "already-exists")) return undefined;
        throw error;
      }
    },
  };
}

class OpenBlob implements BlobWriter {
  readonly offset: number;
  readonly #conversation: Conversation<Write["request"], Write["response"]>;
  readonly #blob: NewBlob;
  #position: number;

  constructor(conversation: Conversation<Write["request"], Write["response"]>, blob: NewBlob, offset: number) {
    this.#conversation = conversation;
    this.#blob = blob;
    this.#position = offset;
    this.offset = offset;
  }

  async write(data: Uint8Array): Promise<void> {
    for (let taken = 0; taken < data.length; taken += pieceBytes) {
      const piece = data.subarray(taken, taken + pieceBytes);
      const message = { action: writeAction.write, offset: this.#position, data: piece };
      await ask(this.#conversation, message);
      this.#position += piece.length;
    }
  }

  commit(): Promise<WriteResult> {
    const message = { ...commit(this.#blob), offset: this.#position };
    return untilPresent(this.#conversation, () => ask(this.#conversation, message));
  }

  async close(): Promise<void> {
    try {
      this.#conversation.end();
      // Only when containerd has said its last word, the ingest is free for others.
      while ((await this.#conversation.next()) !== undefined);
    } catch {
      // Whatever went wrong was thrown by the call that it happened to.
    } finally {
      await this.#conversation.close();
    }
  }
}

export function ingestService(channel: Channel): IngestService {
  return {
    async status(ref, options) {
      const { status } = await channel.call(methods.status, { ref }, options);
      return ingestOf(status ?? { ref, offset: 0, total: 0 });
    },
    async list(filters = [], options) {
      return (await channel.call(methods.listStatuses, { filters }, options)).statuses.map(ingestOf);
    },
    async abort(ref, options) {
      await channel.call(methods.abort, { ref }, options);
    },
  };
}

function ingestOf({ ref, offset, total }: Ingest): Ingest {
  return { ref, offset, total };
}

function refOf({ ref, digest }: NewBlob): string {
  return ref ?? `nodewarm-${digest}`;
}

function start(blob: NewBlob): Encodable<Write["request"]> {
  return { ref: refOf(blob), total: blob.sizeBytes, expected: blob.digest };
}

function commit(blob: NewBlob): Encodable<Write["request"]> {
  return { ...start(blob), action: writeAction.commit, labels: blob.labels };
}

/** Every message of a write has one answer. */
async function ask(
  conversation: Conversation<Write["request"], Write["response"]>,
  message: Encodable<Write["request"]>,
): Promise<Decoded<Write["response"]>> {
  await conversation.send(message);
  const answer = await conversation.next();
  if (answer === undefined) throw new RuntimeError("internal", `${methods.write.name}: no answer to a message`);
  return answer;
}

async function untilPresent(
  conversation: Conversation<Write["request"], Write["response"]>,
  work: () => Promise<unknown>,
): Promise<WriteResult> {
  try {
    await work();
    conversation.end();
    // The status says whether the commit stands.
    while ((await conversation.next()) !== undefined);
    return "written";
  } catch (error) {
    if (isRuntimeError(error, "already-exists")) return "present";
    throw error;
  } finally {
    await conversation.close();
  }
}
