import assert from "node:assert/strict";
import { test } from "node:test";
import { OciError } from "../oci-error.ts";
import { plainTls } from "./endpoint.ts";
import { EndpointDirectory } from "./endpoint-directory.ts";

const { signal } = new AbortController();
const failure = (code: string, message = "") =>
  new OciError("registry-unreachable", "no", { cause: Object.assign(new Error(message), { code }) });

/** What one server is asked, which fails by https in this way, in two attempts. */
async function asked(server: string, error: OciError, fallsBackToHttp: boolean): Promise<string[]> {
  const endpoint = { apiPath: "/v2", resolves: true, pulls: true, headers: {}, tls: plainTls, namespace: undefined };
  const directory = new EndpointDirectory({
    key: ({ host }) => host,
    load: async () => [{ ...endpoint, origin: `https://${server}`, ...(fallsBackToHttp && { fallsBackToHttp }) }],
  });
  const origins: string[] = [];
  for (let attempt = 0; attempt < 2; attempt++)
    await directory
      .firstWorking({ host: server, path: "a" }, "pulls", signal, async ({ origin }) => {
        origins.push(origin);
        if (origin.startsWith("https:")) throw error;
      })
      .catch(() => {});
  return origins;
}

test("a server that speaks no TLS is asked by plain HTTP from then on, if it may be", async () => {
  const error = failure("EPROTO", "wrong version number");
  assert.deepEqual(await asked("r.example:5000", error, true), [
    "https://r.example:5000",
    "http://r.example:5000",
    "http://r.example:5000",
  ]);
  assert.deepEqual(await asked("r.example:5000", error, false), ["https://r.example:5000", "https://r.example:5000"]);
});

test("where nobody listens for TLS, plain HTTP is tried at its own port each time", async () => {
  const error = failure("ECONNREFUSED");
  const both = ["https://r.example", "http://r.example"];
  assert.deepEqual(await asked("r.example", error, true), [...both, ...both]);
  assert.deepEqual(await asked("r.example", error, false), ["https://r.example", "https://r.example"]);
  assert.deepEqual(await asked("r.example:5000", error, true), ["https://r.example:5000", "https://r.example:5000"]);
});

test("a certificate that is not trusted leads to no plain HTTP", async () => {
  const error = failure("DEPTH_ZERO_SELF_SIGNED_CERT");
  assert.deepEqual(await asked("r.example", error, true), ["https://r.example", "https://r.example"]);
});
