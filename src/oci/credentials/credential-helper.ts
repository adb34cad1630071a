import { spawn } from "node:child_process";
import { object, readShape, string } from "../json-shape.ts";
import { causeText, OciError } from "../oci-error.ts";
import type { Credential } from "./credential.ts";

export type HelperOptions = {
  /** The file that names the helper, for messages. */
  readonly source: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
};

const maxOutputBytes = 64 << 10;
const answerShape = object({ Username: string, Secret: string });
/** Of github.com/docker/docker-credential-helpers, `credentials/error.go`. */
const notFound = "credentials not found in native keychain";

/**
 * Asks `docker-credential-NAME get` for the credential of a server: the server's name goes to its standard input, JSON comes
 * from its standard output. Nothing it prints ever gets into an error. Throws `OciError` (credentials-failed).
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credential | undefined> {
  const program = `docker-credential-${name}`;
  const failure = (why: string, cause?: unknown) =>
    new OciError("credentials-failed", `${program}, which ${options.source} names, ${why} for ${server}`, { cause });
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    throw new OciError(
      "credentials-failed",
      `${options.source} names a credential helper with characters that no helper has`,
    );
  }
  const { code, output, error, isLate } = await run(program, server, options);
  options.signal.throwIfAborted();
  if (error) throw failure(`cannot be started (${causeText(error)})`, error);
  if (isLate) throw failure("did not answer in time");
  if (output.length > maxOutputBytes) throw failure("answered too much");
  if (code !== 0) {
    if (output.trim() === notFound) return undefined;
    throw failure(`failed with exit status ${code ?? "unknown"}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw failure("answered something that is not JSON");
  }
  const answer = readShape(answerShape, value);
  if (answer.problem) throw failure("gave no Username and Secret");
  const { Username: username, Secret: secret } = answer.value;
  if (username === "" && secret === "") return undefined;
  // The name that docker's helpers give to identity tokens.
  return username === "<token>"
    ? { kind: "identity-token", token: secret }
    : { kind: "password", username, password: secret };
}

type Outcome = { code: number | null; output: string; error?: Error; isLate: boolean };

function run(program: string, input: string, options: HelperOptions): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, ["get"], { env: options.environment, stdio: ["pipe", "pipe", "ignore"] });
    let output = "";
    let isLate = false;
    const stop = () => child.kill("SIGKILL");
    const timer = setTimeout(() => {
      isLate = true;
      stop();
      // A grandchild may keep the pipe open; do not wait for it.
      child.stdout.destroy();
    }, options.timeoutMs ?? 30_000);
    const end = (outcome: Omit<Outcome, "output" | "isLate">) => {
      clearTimeout(timer);
      options.signal.removeEventListener("abort", stop);
      resolve({ ...outcome, output, isLate });
    };
    options.signal.addEventListener("abort", stop, { once: true });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.length > maxOutputBytes) stop();
    });
    child.once("error", (error) => end({ code: null, error }));
    child.once("close", (code) => end({ code }));
    // The helper may end without reading.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
