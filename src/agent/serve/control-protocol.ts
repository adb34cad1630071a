import { z } from "zod";
import type { DiskStatus } from "../../runtime/runtime.ts";
import type { AgentStatus } from "../status.ts";

/**
 * HTTP over a unix socket that only root may open. `GET /v1/status` answers with one JSON document. The others are `POST`: they take one
 * and answer with lines of JSON, events while they work, the report or an error at the end. Whoever hangs up has the work stopped; who does
 * not read loses the oldest events, and a line says how many.
 */
export const controlPaths = {
  status: "/v1/status",
  disks: "/v1/disks",
  inject: "/v1/inject",
  eject: "/v1/eject",
} as const;

export const maxRequestBytes = 1 << 20;

const runtime = z.string().min(1);
const diskID = z.string().regex(/^[0-9a-f]{64}$/, "must be the id of a disk, 64 hex digits");

export const disksRequestSchema = z.strictObject({ runtime });

export const injectRequestSchema = z.strictObject({
  runtime,
  path: z.string().regex(/^\/[^\0]*$/, "must be an absolute path"),
  images: z.array(z.string()).optional(),
  handlers: z.enum(["all", "default-only"]),
  force: z.boolean(),
  chains: z.boolean(),
});

export const ejectRequestSchema = z.strictObject({
  runtime,
  disks: z.array(diskID),
  wait: z.boolean(),
  materialize: z.boolean(),
});

export type StatusAnswer = { readonly version: string; readonly runtimes: readonly AgentStatus[] };
export type DisksReport = { readonly disks: readonly DiskStatus[] };

/** One line of the answer to a `POST`. */
export type ControlLine<Event, Report> =
  | { readonly event: Event }
  /** So many events before the next line were left out, for they were not read in time. */
  | { readonly dropped: number }
  | { readonly report: Report }
  | { readonly error: ControlFailure };

/** `code` is that of the error where it has one, else `unexpected`. */
export type ControlFailure = { readonly code: string; readonly message: string };
