/** Decides when a registry's server may be asked. `server` is `host:port`. */
export type RequestPacer = {
  /**
   * Waits for the turn of one request: `tag` for a question about a tag, `content` for anything else. Throws `TryAgain` where the wait
   * would be long, because the server asked not to be asked; what `signal` says when it aborts.
   */
  turn(server: string, kind: "tag" | "content", signal: AbortSignal): Promise<void>;
  /** The server has said that it was asked too often, and for how long it wants to be left alone if it did say. */
  limited(server: string, retryAfterMs: number | undefined): void;
  /** The server has answered as it should. */
  served(server: string): void;
};
