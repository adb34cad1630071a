import { causeText } from "../oci/oci-error.ts";
import { codeOf } from "./agent-error.ts";

/** What a line of the log can say besides its event. An image is a normalised reference; digests and ids of disks are whole. */
export type LogFields = {
  readonly action?: string;
  readonly image?: string;
  readonly digest?: string;
  readonly disk?: string;
  readonly path?: string;
  readonly phase?: string;
  /** Where the node has an image from. */
  readonly source?: "disk" | "registry" | "node";
  readonly reason?: string;
  readonly seconds?: number;
  readonly address?: string;
  /** What went wrong, for a person; without secrets. */
  readonly error?: string;
  /** Of that error, for programs; `unexpected` where it has none. */
  readonly code?: string;
};

type EventDescription = {
  readonly level: "info" | "warning" | "error";
  /** Those that a line of this event can have. */
  readonly fields: readonly (keyof LogFields)[];
  readonly meaning: string;
};

/** All that an agent logs. */
export const logEvents = {
  "runtime-found": { level: "info", fields: [], meaning: "A runtime is kept warm from now on." },
  "runtime-missing": {
    level: "warning",
    fields: ["error", "code"],
    meaning: "There is no runtime yet; it is looked for again.",
  },
  "runtime-search-failed": {
    level: "error",
    fields: ["error", "code"],
    meaning: "The search for more runtimes failed; those that were found are kept warm.",
  },
  "runtime-unavailable": {
    level: "error",
    fields: ["error", "code"],
    meaning: "The runtime cannot be asked; it is tried again.",
  },
  listening: { level: "info", fields: ["address"], meaning: "Health and metrics are served there." },
  "configuration-invalid": {
    level: "error",
    fields: ["error", "code"],
    meaning: "The documents cannot be used: file, line and field. The last good ones stay in force.",
  },
  "pass-failed": {
    level: "error",
    fields: ["error", "code"],
    meaning: "What is to be done could not be decided: a fault of the agent. It tries again; what runs goes on.",
  },
  "disk-search-failed": {
    level: "warning",
    fields: ["error", "code"],
    meaning: "Places of a new configuration cannot be looked at.",
  },
  "watch-broken": {
    level: "warning",
    fields: ["error", "code"],
    meaning: "A stream of changes broke; it is begun anew, and everything compared.",
  },
  "events-lost": {
    level: "warning",
    fields: ["error"],
    meaning:
      "The runtime's events do not arrive any more, or it ended: what others change is only seen when all is compared, until `events-back`.",
  },
  "events-back": { level: "info", fields: [], meaning: "The runtime's events arrive again; everything is compared." },
  "image-phase": {
    level: "info",
    fields: ["image", "digest", "phase", "source", "reason"],
    meaning: "A wanted image is in another phase than before.",
  },
  "image-lost": {
    level: "warning",
    fields: ["image", "digest"],
    meaning: "Others took a warm image away, or moved its name; that is undone.",
  },
  "image-update": {
    level: "info",
    fields: ["image", "digest"],
    meaning: "The registry says another digest than the tag has on the node; it is made warm before the tag moves.",
  },
  "image-unwanted": { level: "info", fields: ["image"], meaning: "An image is not wanted any more." },
  "action-done": {
    level: "info",
    fields: ["action", "image", "digest", "disk", "path", "seconds"],
    meaning: "Something was done, in so many seconds.",
  },
  "action-failed": {
    level: "warning",
    fields: ["action", "image", "digest", "disk", "path", "error", "code"],
    meaning: "Something failed; it is tried again.",
  },
  ready: { level: "info", fields: ["reason"], meaning: "Workloads may come to this runtime." },
} as const satisfies Readonly<Record<string, EventDescription>>;

export type LogEvent = keyof typeof logEvents;

/** One line of what an agent does. */
export type LogLine = {
  [Event in LogEvent]: {
    readonly event: Event;
    /** Which runtime it is about, once one was found. */
    readonly runtime?: string;
    readonly fields: Pick<LogFields, (typeof logEvents)[Event]["fields"][number]>;
  };
}[LogEvent];

/** Where an agent logs. Never throws. */
export type Log = (line: LogLine) => void;

/** What a line says of an error. */
export function errorFields(error: unknown): { readonly error: string; readonly code: string } {
  return { error: causeText(error), code: codeOf(error) };
}
