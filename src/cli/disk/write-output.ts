import type { Output } from "../command.ts";

/**
 * Writes and waits until the bytes may be overwritten. False when the reader has gone (`head` that has seen enough), after
 * which nothing more is to be written.
 */
export function writeOutput(output: Output, bytes: Uint8Array | string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    output.write(bytes, (error) => {
      if (!error) resolve(true);
      else if ("code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED")) resolve(false);
      else reject(error);
    });
  });
}

/** While `work` runs, a reader that has gone is no error: `writeOutput` tells. */
export async function withOutput<T>(output: Output, work: () => Promise<T>): Promise<T> {
  const ignore = () => {};
  output.on("error", ignore);
  try {
    return await work();
  } finally {
    output.off("error", ignore);
  }
}
