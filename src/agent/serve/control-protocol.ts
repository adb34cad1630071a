import { z } from "zod";
import type { EjectEvent, EjectReport, InjectEvent, InjectReport } from "../../runtime/runtime.ts";
import type { AgentStatus } from "../status.ts";
import type { RuntimeOutcome } from "./control.ts";

/**
 * HTTP over a unix socket that only root may open. `GET /v1/status` answers with one JSON document. `POST /v1/inject` and `/v1/eject` take one and
 * answer with lines of JSON: events while they work, the outcomes or an error at the end. Whoever hangs up has the work stopped.
 */
export const controlPaths = { status: "/v1/status", inject: "/v1/inject", eject: "/v1/eject" } as const;

export const maxRequestBytes = 1 << 20;

const diskID = z.string().regex(/^[0-9a-f]{64}$/, "must be the id of a disk, 64 hex digits");

export const injectRequestSchema = z.strictObject({
  path: z.string().regex(/^\/[^\0]*$/, "must be an absolute path"),
  images: z.array(z.string()).optional(),
  handlers: z.enum(["all", "default-only"]),
  force: z.boolean(),
  chains: z.boolean(),
});

export const ejectRequestSchema = z.strictObject({
  disks: z.array(diskID).optional(),
  wait: z.boolean(),
  materialize: z.boolean(),
});

export type StatusAnswer = { readonly version: string; readonly runtimes: readonly AgentStatus[] };

/** One line of the answer to `inject` or `eject`. */
export type ControlLine<Event, Report> =
  | { readonly runtime: string; readonly event: Event }
  | { readonly outcomes: readonly RuntimeOutcome<Report>[] }
  | { readonly error: ControlFailure };

export type InjectLine = ControlLine<InjectEvent, InjectReport>;
export type EjectLine = ControlLine<EjectEvent, EjectReport>;

/** `code` is that of the error where it has one, else `unexpected`. */
export type ControlFailure = { readonly code: string; readonly message: string };
