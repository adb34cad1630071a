import type { CallArgument, CallName } from "./system-calls.ts";

/** What the thread in another mount namespace is asked for. */
export type NamespaceCall = { readonly name: CallName; readonly args: readonly CallArgument[] };

/** Its answers, in the order of the calls; the first one says whether it has entered the namespace. */
export type FromNamespace =
  | { readonly result: number }
  | { readonly call: CallName; readonly errno: number }
  | { readonly code: string | undefined; readonly text: string };
