import { causeText, type OciError } from "../oci-error.ts";
import type { HelperCall } from "./run-helper.ts";

export type HelperQuestion = HelperCall & {
  /** The error to throw; `why` goes on in a sentence that begins with the program. */
  readonly failure: (why: string, cause?: unknown) => OciError;
  /** Whether a program that fails with this on its standard output only says that it has nothing to give. */
  readonly isNothing?: (output: string) => boolean;
};

/**
 * The JSON with which a program that gives credentials answers, not looked into; `undefined` where it has nothing to give. Nothing it prints
 * ever gets into an error. Throws `failure`, and the reason of the signal.
 */
export async function askHelper({ failure, isNothing, ...call }: HelperQuestion): Promise<unknown> {
  // Most registries ask for none.
  const { runHelper } = await import("./run-helper.ts");
  const { code, output, error, isLate, isTooLong } = await runHelper(call);
  call.signal.throwIfAborted();
  if (error) throw failure(`cannot be started (${causeText(error)})`, error);
  if (isLate) throw failure("did not answer in time");
  if (isTooLong) throw failure("answered too much");
  if (code !== 0) {
    if (isNothing?.(output)) return undefined;
    throw failure(`failed with exit status ${code ?? "unknown"}`);
  }
  try {
    return JSON.parse(output);
  } catch {
    throw failure("answered something that is not JSON");
  }
}
