import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import { bytes, type Decoded, decode, nested, string, strings } from "./message.ts";
import { dateOf, empty, nestedTimestamp } from "./well-known.ts";

const anyMessage = { typeUrl: string(1), value: bytes(2) };
const envelope = {
  timestamp: nestedTimestamp(1),
  namespace: string(2),
  topic: string(3),
  event: nested(4, anyMessage),
};

const subscribe = {
  name: "containerd.services.events.v1.Events/Subscribe",
  request: { filters: strings(1) },
  response: envelope,
};

const publish = {
  name: "containerd.services.events.v1.Events/Publish",
  request: { topic: string(1), event: nested(2, anyMessage) },
  response: empty,
};

/** For the comparison with the published API. */
export const eventMethods = { subscribe, publish };

export type ContainerdEvent = {
  readonly namespace: string;
  /** Such as `/images/delete`. */
  readonly topic: string;
  readonly time: Date | undefined;
  /** What it is about: the image's name, the blob's digest, the snapshot's name or key. `undefined` for topics of other kinds. */
  readonly subject: string | undefined;
};

export type EventService = {
  /**
   * Events of all namespaces, from now on, of which one of the filters matches (`topic~="/images/"`), all without filters.
   * Ends only by `signal` or when the caller breaks off; throws `unavailable` when containerd stops. Nothing is replayed.
   */
  subscribe(filters?: readonly string[], options?: CallOptions): AsyncGenerator<ContainerdEvent, void, undefined>;
};

/** Events of one namespace, made by clients. */
export type EventPublisher = {
  /** An event without content. `topic`: at least two words, such as `/test/marker`. */
  publish(topic: string, options?: CallOptions): Promise<void>;
};

export function eventPublisher(channel: Channel): EventPublisher {
  return {
    async publish(topic, options) {
      // Of a type that every subscriber can decode.
      await channel.call(
        publish,
        { topic, event: { typeUrl: "google.protobuf.Empty", value: new Uint8Array() } },
        options,
      );
    },
  };
}

/** Events whose first field is the name of what they are about (containerd `api/events`). */
const topicsWithSubject = /^\/(images\/(create|update|delete)|content\/(create|delete)|snapshot\/remove)$/;

export function eventService(channel: Channel): EventService {
  return {
    async *subscribe(filters = [], options) {
      for await (const event of channel.stream(subscribe, { filters }, options)) yield eventOf(event);
    },
  };
}

function eventOf({ namespace, topic, timestamp, event }: Decoded<typeof envelope>): ContainerdEvent {
  const hasSubject = event !== undefined && topicsWithSubject.test(topic);
  const subject = hasSubject ? decode({ name: string(1) }, event.value).name : undefined;
  return { namespace, topic, time: dateOf(timestamp), subject };
}
