/** Is told what is asked of registries, to count it. Never throws. */
export type RequestWatcher = {
  /** A question goes to a server (`host:port`), as `RequestPacer.turn` has it; redirects and signing in are not told. */
  asked(server: string, kind: "tag" | "content"): void;
  /** What failed is asked again. */
  retried(): void;
};
