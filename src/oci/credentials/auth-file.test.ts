import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { authFile } from "./auth-file.ts";
import { defaultCredentials } from "./default-credentials.ts";

const directory = await mkdtemp(join(tmpdir(), "nodewarm-auth-"));
after(() => rm(directory, { recursive: true }));
const signal = new AbortController().signal;
const entry = (username: string) => ({ auth: Buffer.from(`${username}:pass:word`).toString("base64") });

async function write(path: string, content: unknown): Promise<string> {
  const file = join(directory, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

async function find(content: unknown, host: string, repository = "team/app"): Promise<unknown> {
  const file = await write("config.json", content);
  return authFile(file, { isRequired: true, environment: {} })(host, repository, signal);
}

const user = (username: string) => ({ kind: "password", username, password: "pass:word" });

describe("keys of auths", () => {
  for (const [key, host, repository, isMatch] of [
    ["https://index.docker.io/v1/", "docker.io", "library/a", true],
    ["docker.io", "docker.io", "library/a", true],
    ["registry-1.docker.io", "docker.io", "library/a", true],
    ["ghcr.io", "ghcr.io", "a/b", true],
    ["https://ghcr.io", "ghcr.io", "a/b", true],
    ["http://localhost:5000/v2/", "localhost:5000", "a/b", true],
    ["ghcr.io/v2/", "ghcr.io", "a/b", true],
    ["ghcr.io/a", "ghcr.io", "a/b", true],
    ["ghcr.io/a/b", "ghcr.io", "a/b", true],
    ["docker.io/library", "docker.io", "library/a", true],
    ["ghcr.io/a/bc", "ghcr.io", "a/b", false],
    ["ghcr.io/a", "ghcr.io", "ab/c", false],
    ["ghcr.io", "ghcr.io:443", "a/b", false],
    ["ghcr.io", "evil-ghcr.io", "a/b", false],
    ["ghcr.io", "ghcr.io.evil", "a/b", false],
    ["", "ghcr.io", "a/b", false],
    ["io", "ghcr.io", "a/b", false],
  ] as const) {
    test(`"${key}" ${isMatch ? "is" : "is not"} for ${host}/${repository}`, async () => {
      const found = await find({ auths: { [key]: entry("me") } }, host, repository);
      assert.deepEqual(found, isMatch ? user("me") : undefined);
    });
  }

  test("the longest one counts", async () => {
    const auths = { "ghcr.io": entry("host"), "ghcr.io/a/b": entry("repository"), "ghcr.io/a": entry("team") };
    assert.deepEqual(await find({ auths }, "ghcr.io", "a/b"), user("repository"));
    assert.deepEqual(await find({ auths }, "ghcr.io", "a/c"), user("team"));
    assert.deepEqual(await find({ auths }, "ghcr.io", "x"), user("host"));
  });
});

test("entries may have a user and password, tokens, or nothing", async () => {
  const only = (value: unknown) => find({ auths: { "a.io": value } }, "a.io");
  assert.deepEqual(await only({ username: "u", password: "" }), { kind: "password", username: "u", password: "" });
  assert.deepEqual(await only({ ...entry("u"), identitytoken: "t" }), { kind: "identity-token", token: "t" });
  assert.deepEqual(await only({ registrytoken: "t" }), { kind: "registry-token", token: "t" });
  assert.equal(await only({}), undefined);
  assert.equal(await find({}, "a.io"), undefined);
  assert.equal(await find({ auths: null }, "a.io"), undefined);
});

test("a broken file is named, and none of its text", async () => {
  for (const content of [
    '{"auths": {"a.io": {"auth": "c2VjcmV0',
    '{"auths": ["canary"]}',
    { auths: { "a.io": { auth: "Y2FuYXJ5" } } },
  ]) {
    await assert.rejects(find(content, "a.io"), (error: Error & { code?: string; cause?: unknown }) => {
      assert.equal(error.code, "credentials-failed");
      assert.match(error.message, /config\.json/);
      assert.doesNotMatch(`${error.message}${error.cause}`, /canary|c2Vj|Y2Fu/);
      return true;
    });
  }
});

test("files are asked in the order of docker's and podman's habits", async () => {
  const content = (name: string, ...hosts: string[]) => ({
    auths: Object.fromEntries(hosts.map((host) => [host, entry(name)])),
  });
  const named = await write("named.json", content("named", "a.io"));
  await write("docker/config.json", content("docker", "a.io", "b.io"));
  await write("run/containers/auth.json", content("run", "a.io", "b.io", "c.io"));
  await write("home/.config/containers/auth.json", content("home", "d.io"));
  const environment = {
    HOME: join(directory, "home"),
    DOCKER_CONFIG: join(directory, "docker"),
    XDG_RUNTIME_DIR: join(directory, "run"),
  };
  for (const lookup of [
    defaultCredentials(named, environment),
    defaultCredentials(undefined, { ...environment, REGISTRY_AUTH_FILE: named }),
  ]) {
    assert.deepEqual(await lookup("a.io", "x", signal), user("named"));
    assert.deepEqual(await lookup("b.io", "x", signal), user("docker"));
    assert.deepEqual(await lookup("c.io", "x", signal), user("run"));
    assert.deepEqual(await lookup("d.io", "x", signal), user("home"));
    assert.equal(await lookup("e.io", "x", signal), undefined);
  }
  const missing = defaultCredentials(join(directory, "missing"), environment);
  await assert.rejects(missing("a.io", "x", signal), { code: "credentials-failed" });
});
