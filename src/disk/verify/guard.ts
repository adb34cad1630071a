import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { DiskError } from "../disk-error.ts";

/** Damage that stops one check is a problem of `place`; the others go on. Throws what is no damage. */
export async function guard<T>(problems: ProblemList, place: string, check: () => Promise<T>): Promise<T | undefined> {
  try {
    return await check();
  } catch (error) {
    if (!isDamage(error)) throw error;
    problems.add(place, error.message);
    return undefined;
  }
}

export function isDamage(error: unknown): error is DiskError | ErofsError {
  return error instanceof DiskError || error instanceof ErofsError;
}
