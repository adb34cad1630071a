import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { inspect } from "node:util";
import {
  type FaultRegistry,
  type FaultRegistryOptions,
  startFaultRegistry,
} from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage, pushToRegistry } from "../../../test/support/image-maker.ts";
import { basicUser, listen, startRegistry } from "../../../test/support/registry.ts";
import { type OpenImageOptions, openImageSource } from "../open-image.ts";
import { parsePlatform } from "../platform.ts";

/** Who is let in, and where secrets do not go. */

const directory = await mkdtemp(join(tmpdir(), "nodewarm-access-"));
const layout = join(directory, "layout");
const signal = new AbortController().signal;
const tar = randomBytes(100_000);
const secret = "canary-5e1f-secret";
let image: MadeImage;
const open: FaultRegistry[] = [];

before(async () => {
  image = await makeImage(layout, { layers: [{ tar, compression: "none" }] });
});
after(async () => {
  for (const each of open) await each.stop();
  await rm(directory, { recursive: true });
});

async function start(options: Partial<FaultRegistryOptions> = {}): Promise<FaultRegistry> {
  const registry = await startFaultRegistry({
    layoutDirectory: layout,
    tags: { "a/b:v1": image.manifest },
    ...options,
  });
  open.push(registry);
  return registry;
}

async function pull(reference: string, options: OpenImageOptions = {}): Promise<Buffer> {
  const environment = { HOME: directory, PATH: `${join(directory, "bin")}:${process.env.PATH}` };
  const source = await openImageSource(reference, { retryDelayMs: 5, environment, ...options });
  try {
    const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
    const pieces: Uint8Array[] = [];
    for await (const piece of resolved.openLayer(0, { signal })) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    await source.close();
  }
}

async function authfile(host: string, entry: Record<string, string>): Promise<string> {
  const file = join(directory, `auth-${Math.random()}.json`);
  await writeFile(file, JSON.stringify({ auths: { [host]: entry } }));
  return file;
}

const auth = Buffer.from(`user:${secret}`).toString("base64");

describe("basic authentication", () => {
  test("lets us into docker-registry with the right password only", async (context) => {
    const registry = await startRegistry({ basicAuth: true });
    context.after(() => registry.stop());
    const encoded = Buffer.from(`${basicUser.username}:${basicUser.password}`).toString("base64");
    await pushToRegistry(layout, image.manifest, {
      origin: registry.origin,
      repository: "a/b",
      tag: "v1",
      authorization: `Basic ${encoded}`,
    });
    const reference = `${registry.host}/a/b:v1`;
    assert.ok((await pull(reference, { authfile: await authfile(registry.host, { auth: encoded }) })).equals(tar));
    await assert.rejects(pull(reference), { code: "unauthorized", message: /docker login/ });
    await assert.rejects(pull(reference, { authfile: await authfile(registry.host, { auth }) }), {
      code: "unauthorized",
    });
  });
});

describe("token authentication", () => {
  test("works without credentials, asks once per repository and names scope and service", async () => {
    const registry = await start({ auth: { kind: "bearer" } });
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
    const tokens = registry.requests.filter(({ path }) => path.startsWith("/token"));
    assert.deepEqual(
      tokens.map(({ path }) => path),
      ["/token?service=test%2C+service&scope=repository%3Aa%2Fb%3Apull"],
    );
    assert.equal(tokens[0].headers.authorization, undefined);
  });

  test("sends the password to the token server and only the token to the registry", async () => {
    const registry = await start({ auth: { kind: "bearer", username: "user", password: secret } });
    assert.ok(
      (await pull(`${registry.host}/a/b:v1`, { authfile: await authfile(registry.host, { auth }) })).equals(tar),
    );
    for (const { path, headers } of registry.requests) {
      const expected = path.startsWith("/token") ? /^Basic / : /^Bearer token-/;
      if (headers.authorization !== undefined) assert.match(headers.authorization as string, expected);
    }
  });

  test("exchanges an identity token by POST", async () => {
    const registry = await start({ auth: { kind: "bearer", username: "x", identityToken: secret } });
    const file = await authfile(registry.host, { auth, identitytoken: secret });
    assert.ok((await pull(`${registry.host}/a/b:v1`, { authfile: file })).equals(tar));
    const form = new URLSearchParams(registry.requests.find(({ path }) => path.startsWith("/token"))?.body);
    assert.equal(form.get("grant_type"), "refresh_token");
    assert.equal(form.get("scope"), "repository:a/b:pull");
  });

  test("fetches a new token when the old one is revoked or about to expire", async () => {
    const registry = await start({ auth: { kind: "bearer" } });
    const source = await openImageSource(`${registry.host}/a/b:v1`);
    const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
    registry.revokeTokens();
    for await (const _ of resolved.openLayer(0, { signal }));
    await source.close();
    const count = (each: FaultRegistry) => each.requests.filter(({ path }) => path.startsWith("/token")).length;
    assert.equal(count(registry), 2);

    const shortLived = await start({ auth: { kind: "bearer", expiresInSeconds: 1 } });
    await pull(`${shortLived.host}/a/b:v1`);
    assert.equal(count(shortLived), 3);
  });

  test("is refused with the token server's words, never with the password", async () => {
    const registry = await start({ auth: { kind: "bearer", username: "user", password: "another" } });
    const file = await authfile(registry.host, { auth });
    const body = JSON.stringify({ errors: [{ code: "DENIED", message: `no ${secret} or ${auth} here` }] });
    registry.fault(/token/, { kind: "status", status: 401, body });
    const error = await pull(`${registry.host}/a/b:v1`, { authfile: file }).catch((thrown: unknown) => thrown);
    assert.match(String(error), /DENIED: no \*\*\* or \*\*\* here/);
    assertNoSecret(error);
    assertNoSecret(await pull(`${registry.host}/a/b:v1`, { authfile: file }).catch((thrown: unknown) => thrown));
  });

  for (const [what, body] of [
    ["no JSON", "<html>"],
    ["no token", "{}"],
    ["a token that no header can hold", JSON.stringify({ token: `${secret}\r\nx: y` })],
    ["a token of megabytes", JSON.stringify({ token: secret.repeat(100_000) })],
  ] as const) {
    test(`refuses an answer with ${what}`, async () => {
      const registry = await start({ auth: { kind: "bearer" } });
      registry.fault(/token/, { kind: "status", status: 200, body });
      const error = await pull(`${registry.host}/a/b:v1`).catch((thrown: Error & { code: string }) => thrown);
      assert.equal((error as { code?: string }).code, "registry-protocol");
      assertNoSecret(error);
    });
  }

  test("refuses a token server that is not http or https", async () => {
    const registry = await start({ auth: { kind: "bearer", realm: "file:///etc/passwd" } });
    await assert.rejects(pull(`${registry.host}/a/b:v1`), { code: "registry-protocol" });
  });
});

describe("redirects", () => {
  test("to another origin carry no credentials; within the origin they do", async () => {
    const seen: Record<string, unknown>[] = [];
    const storage = await listen((request, response) => {
      seen.push(request.headers);
      response.end(tar);
    });
    const registry = await start({ auth: { kind: "basic", username: "user", password: secret } });
    const layer = image.layers[0].descriptor.digest;
    registry.fault(new RegExp(`${layer}$`), { kind: "redirect", location: `/v2/a/b/blobs/${layer}?again` });
    registry.fault(new RegExp(`${layer}\\?again$`), {
      kind: "redirect",
      location: `http://${storage.host}/x?X-Signature=${secret}`,
    });
    // The first request of a registry is always refused; by now the blob's is not.
    assert.ok(
      (await pull(`${registry.host}/a/b:v1`, { authfile: await authfile(registry.host, { auth }) })).equals(tar),
    );
    assert.equal(seen.length, 1);
    assert.equal(seen[0].authorization, undefined);
    assert.match(String(seen[0]["user-agent"]), /^nodewarm/);
    assert.equal(registry.requests.at(-1)?.headers.authorization, `Basic ${auth}`);
    await storage.stop();
    const error = await pullWithRedirect(registry, `http://${storage.host}/x?X-Signature=${secret}`);
    assert.match(String(error), /Cannot talk to http/);
    assertNoSecret(error);
  });

  async function pullWithRedirect(registry: FaultRegistry, location: string): Promise<unknown> {
    registry.fault(/blobs/, { kind: "redirect", location }, 100);
    const options = { authfile: await authfile(registry.host, { auth }), limits: { "fetch-retries": 0 } };
    return pull(`${registry.host}/a/b:v1`, options).catch((thrown: unknown) => thrown);
  }

  test("in a circle end in one error", async () => {
    const registry = await start();
    registry.fault(/manifests/, { kind: "redirect", location: "v1" }, 1000);
    await assert.rejects(pull(`${registry.host}/a/b:v1`), { code: "redirect-refused", message: /more than 10 times/ });
    assert.equal(registry.requests.length, 11);
  });

  for (const location of ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "http://"]) {
    test(`to ${location} are refused`, async () => {
      const error = await pullWithRedirect(await start(), location);
      assert.equal((error as { code?: string }).code, "redirect-refused");
    });
  }
});

describe("credential helpers", () => {
  test("give credentials, say that they have none, or fail without their words in the error", async () => {
    await mkdir(join(directory, "bin"), { recursive: true });
    const program = async (name: string, script: string) => {
      const file = join(directory, "bin", `docker-credential-${name}`);
      await writeFile(file, `#!/bin/sh\n${script}\n`);
      await chmod(file, 0o755);
    };
    await program(
      "good",
      `read -r server; printf '{"ServerURL":"%s","Username":"user","Secret":"${secret}"}' "$server"`,
    );
    await program("empty", "echo credentials not found in native keychain; exit 1");
    await program("bad", `echo "${secret}"; echo "${secret}" >&2; exit 3`);
    await program("noise", `echo "${secret}"`);
    const registry = await start({ auth: { kind: "basic", username: "user", password: secret } });
    const withFile = async (content: object): Promise<unknown> => {
      const file = join(directory, "helpers.json");
      await writeFile(file, JSON.stringify(content));
      return pull(`${registry.host}/a/b:v1`, { authfile: file }).catch((thrown: unknown) => thrown);
    };
    const auths = { [registry.host]: { auth } };
    assert.ok(Buffer.isBuffer(await withFile({ credHelpers: { [registry.host]: "good" } })));
    assert.ok(Buffer.isBuffer(await withFile({ credsStore: "good", auths: { [registry.host]: {} } })));
    assert.ok(Buffer.isBuffer(await withFile({ credsStore: "empty", auths })));
    assert.ok(Buffer.isBuffer(await withFile({ credHelpers: { [registry.host]: "empty" }, credsStore: "good" })));
    for (const [name, message] of [
      ["bad", /exit status 3/],
      ["noise", /not JSON/],
      ["absent", /cannot be started/],
      ["../x", /characters/],
    ] as const) {
      const error = await withFile({ credsStore: name, auths });
      assert.match(String(error), message);
      assertNoSecret(error);
    }
  });
});

function assertNoSecret(error: unknown): void {
  assert.ok(error instanceof Error);
  const everything = inspect(error, { depth: 10, showHidden: true });
  assert.ok(!everything.includes(secret) && !everything.includes(auth), everything);
}
