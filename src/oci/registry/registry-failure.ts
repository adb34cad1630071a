import { OciError, type OciErrorCode, printable } from "../oci-error.ts";
import { retryAfterMs, TryAgain } from "./retry.ts";
import { type HttpAnswer, shownUrl } from "./transport.ts";

const maxErrorBodyBytes = 64 << 10;

/**
 * What an answer that is no success means: `TryAgain` where another attempt may help, else `OciError`. `what` is the thing
 * asked for; `secrets` are blotted out of what the server says.
 */
export async function registryFailure(answer: HttpAnswer, what: string, secrets: readonly string[]): Promise<Error> {
  const said = blot(registryMessage(await errorBody(answer)), secrets);
  const { code, hint } = meaning(answer.status);
  const words = said === "" ? "" : ` (${printable(said, 500)})`;
  const failure = new OciError(code, `${shownUrl(answer.url)} answered ${answer.status}${words} for ${what}${hint}`);
  if (![408, 429, 500, 502, 503, 504].includes(answer.status)) return failure;
  return new TryAgain(failure, retryAfterMs(answer.header("retry-after"), Date.now()));
}

function meaning(status: number): { code: OciErrorCode; hint: string } {
  switch (status) {
    case 401:
      return { code: "unauthorized", hint: "; are there credentials for this registry (docker login, --authfile)?" };
    case 403:
      return { code: "denied", hint: "; the credentials in use, if any, do not allow it" };
    case 404:
      return {
        code: "not-found",
        hint: "; is the name right? Some registries say so too when credentials are missing",
      };
    case 429:
      return { code: "rate-limited", hint: "; the registry limits how often it may be asked" };
    default:
      return { code: "registry-error", hint: status >= 500 ? "; the registry itself seems to be in trouble" : "" };
  }
}

async function errorBody(answer: HttpAnswer): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of answer.body) {
      pieces.push(piece);
      size += piece.length;
      if (size >= maxErrorBodyBytes) break;
    }
  } catch {
    // The status tells enough.
  }
  return Buffer.concat(pieces).toString("utf8").slice(0, maxErrorBodyBytes);
}

/** OCI distribution spec, error codes: `{"errors": [{"code", "message", "detail"}]}`. */
function registryMessage(body: string): string {
  try {
    const { errors } = JSON.parse(body) as { errors?: unknown };
    if (!Array.isArray(errors)) return "";
    return errors
      .slice(0, 3)
      .map((error: { code?: unknown; message?: unknown } | null) => [error?.code, error?.message])
      .map((parts) => parts.filter((part) => typeof part === "string" && part !== "").join(": "))
      .join("; ");
  } catch {
    return "";
  }
}

function blot(text: string, secrets: readonly string[]): string {
  return secrets.filter((secret) => secret.length > 0).reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
}
