import type { Agent, IncomingMessage } from "node:http";
import type { OnReadOpts } from "node:net";
import { Duplex } from "node:stream";
import { copyBytes } from "../copy-bytes.ts";

/** Where the bytes of a body go. */
export interface BodyTarget {
  /** Memory for the next bytes, at least one. */
  space(): Uint8Array;
  /** So many bytes were put into what `space` gave last. Returns false to be held up until `resume`. */
  filled(bytes: number): boolean;
}

type Reads = { target: BodyTarget | undefined };

const readsOf = new WeakMap<Duplex, Reads>();

/** As much as Node reads at once by itself. */
const ownBytes = 64 << 10;

/**
 * Makes the connections of `agent`, which must not go through a proxy, such that `readDirectly` can be used: Node is told where to put what it
 * reads, and what nobody has asked for goes on to its HTTP parser as usual.
 */
export function prepareDirectReads(agent: Agent): Agent {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const reads: Reads = { target: undefined };
    const own = Buffer.allocUnsafeSlow(ownBytes);
    let socket: Duplex | null | undefined;
    const onread: OnReadOpts = {
      buffer: () => reads.target?.space() ?? own,
      callback(bytes, buffer) {
        if (reads.target === undefined) {
          socket?.emit("data", Buffer.from(own.subarray(0, bytes)));
          return true;
        }
        // What was asked for before there was a target.
        return buffer === own ? give(reads, own.subarray(0, bytes)) : reads.target.filled(bytes);
      },
    };
    const withReads: typeof options & { readonly onread: OnReadOpts } = { ...options, onread };
    socket = connect(withReads, callback);
    if (socket instanceof Duplex) readsOf.set(socket, reads);
    return socket;
  };
  return agent;
}

function give(reads: Reads, bytes: Uint8Array): boolean {
  let goesOn = true;
  for (let done = 0; done < bytes.length && reads.target !== undefined; ) {
    const space = reads.target.space();
    const part = bytes.subarray(done, done + space.length);
    copyBytes(space, part, 0);
    done += part.length;
    goesOn = reads.target.filled(part.length);
  }
  return goesOn;
}

/**
 * From now on puts the body of `answer` into `target` by itself, around the HTTP parser, which would copy each 64 KiB of it twice and throw
 * both copies away; what the parser has got already goes first. Returns `undefined` where that cannot be done. Nobody else may read
 * `answer`; it still tells of failures, but not of its end: that is where its length says, and then it has to be destroyed.
 */
export function readDirectly(
  answer: IncomingMessage,
  target: BodyTarget,
): { readonly resume: () => void; readonly stop: () => void } | undefined {
  const { socket } = answer;
  const reads = readsOf.get(socket);
  const hasLength = answer.headers["content-length"] !== undefined && answer.headers["transfer-encoding"] === undefined;
  if (reads === undefined || !hasLength || answer.complete || answer.destroyed || answer.readableFlowing !== null)
    return undefined;
  reads.target = target;
  for (let first = answer.read(); first !== null; first = answer.read()) give(reads, first);
  socket.resume();
  return {
    resume: () => void socket.resume(),
    stop: () => {
      reads.target = undefined;
    },
  };
}
