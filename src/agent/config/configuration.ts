import type { ImageSet } from "../../kubernetes/image-set.ts";
import type { AgentSpec } from "./agent-config.ts";

/** All that this node was told. */
export type Configuration = {
  readonly sets: readonly ImageSet[];
  readonly agent: AgentSpec;
};

export type ConfigurationEvent =
  /** What is in force from now on. */
  | { readonly type: "configuration"; readonly configuration: Configuration }
  /** What was read cannot be used; what was in force stays so. */
  | { readonly type: "problem"; readonly message: string };

/** Where the wishes come from: files here, a cluster elsewhere. */
export interface ConfigurationSource {
  /** The present state first, then whenever it changes. Ends without an error when `signal` aborts. */
  changes(options: { readonly signal: AbortSignal }): AsyncIterable<ConfigurationEvent>;
}
