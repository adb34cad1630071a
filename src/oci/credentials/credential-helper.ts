import { object, readShape, string } from "../json-shape.ts";
import { OciError } from "../oci-error.ts";
import { askHelper } from "./ask-helper.ts";
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
  const value = await askHelper({
    program,
    args: ["get"],
    environment: options.environment,
    input: server,
    maxOutputBytes,
    timeoutMs: options.timeoutMs ?? 30_000,
    signal: options.signal,
    failure,
    isNothing: (output) => output.trim() === notFound,
  });
  if (value === undefined) return undefined;
  const answer = readShape(answerShape, value);
  if (answer.problem) throw failure("gave no Username and Secret");
  const { Username: username, Secret: secret } = answer.value;
  if (username === "" && secret === "") return undefined;
  // The name that docker's helpers give to identity tokens.
  return username === "<token>"
    ? { kind: "identity-token", token: secret }
    : { kind: "password", username, password: secret };
}
