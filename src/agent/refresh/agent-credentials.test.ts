import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { inspect } from "node:util";
import { answering, makeProviders } from "../../../test/support/credential-provider.ts";
import {
  type FaultRegistry,
  type FaultRegistryOptions,
  startFaultRegistry,
} from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage } from "../../../test/support/image-maker.ts";
import { needsRoot } from "../../../test/support/privileges.ts";
import { registryAccess } from "../../../test/support/registry-access.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { flag, kubeletProviders } from "./kubelet-providers.ts";
import { RegistryImageResolver, type RegistryResolverOptions } from "./registry-image-resolver.ts";
import type { RegistryOverride, RegistrySettings } from "./registry-settings.ts";

/** Who is let in, and where secrets do not go. */

const scope = new AsyncDisposableStack();
const { signal } = new AbortController();
const secret = "canary-41fe-password";
let layout: string;
let directory: string;
let image: MadeImage;
let settings: RegistrySettings;

before(async () => {
  layout = await temporaryDirectory(scope, "credentials");
  image = await makeImage(layout, { layers: [{ tar: randomBytes(1000), compression: "none" }] });
});
beforeEach(async () => {
  directory = await temporaryDirectory(scope, "credentials");
  settings = { registries: [], dockerConfigs: [] };
});
after(() => scope.disposeAsync());

async function start(auth: NonNullable<FaultRegistryOptions["auth"]>): Promise<FaultRegistry> {
  const tags = Object.fromEntries(["a/b:v1", "team/app:v1", "team/other:v1"].map((name) => [name, image.manifest]));
  const registry = await startFaultRegistry({ layoutDirectory: layout, tags, auth });
  scope.defer(() => registry.stop());
  return registry;
}

function resolverOf(options: Partial<RegistryResolverOptions> = {}): RegistryImageResolver {
  const resolver = new RegistryImageResolver({
    access: async () => registryAccess(),
    settings: () => settings,
    environment: { HOME: directory, PATH: `${directory}:${process.env.PATH}` },
    kubelet: async () => undefined,
    limits: { "fetch-retries": 0 },
    retryDelayMs: 5,
    ...options,
  });
  scope.defer(() => resolver.close());
  return resolver;
}

const resolve = (resolver: RegistryImageResolver, host: string, name = "a/b") =>
  resolver.resolveTag(parseReference(`${host}/${name}:v1`), { signal });

async function entry(prefix: string, password: string): Promise<RegistryOverride> {
  const passwordFile = join(directory, `password-${Math.random()}`);
  await writeFile(passwordFile, `${password}\n`);
  const plain = {
    authorities: [],
    mirrors: [],
    plainHttp: false,
    skipVerify: false,
    requestsPerSecond: 100,
    burst: 100,
  };
  return { ...plain, prefix, credentials: { username: "user", passwordFile } };
}

const kinds = ["basic", "bearer"] as const;

for (const kind of kinds) {
  describe(`a registry with ${kind} authentication lets in who has`, () => {
    test("credentials of AgentConfig, the longest prefix first", async () => {
      const registry = await start({ kind, username: "user", password: secret });
      const [whole, team] = await Promise.all([entry(registry.host, "wrong"), entry(`${registry.host}/team`, secret)]);
      settings = { ...settings, registries: [whole, team] };
      assert.equal(await resolve(resolverOf(), registry.host, "team/app"), image.manifest.digest);
      await assert.rejects(resolve(resolverOf(), registry.host, "a/b"), { code: "unauthorized" });
    });

    test("a password that has changed in its file since", async () => {
      const auth = { kind, username: "user", password: "first", expiresInSeconds: 3600 };
      const registry = await start(auth);
      const one = await entry(registry.host, "first");
      settings = { ...settings, registries: [one] };
      const resolver = resolverOf();
      await resolve(resolver, registry.host);
      auth.password = secret;
      registry.revokeTokens();
      await assert.rejects(resolve(resolver, registry.host), { code: "unauthorized" });
      await writeFile(one.credentials?.passwordFile ?? "", secret);
      await resolve(resolver, registry.host);
    });

    test("a docker config file, which is read again when it changes", async () => {
      const registry = await start({ kind, username: "user", password: secret });
      const file = join(directory, "config.json");
      const write = (password: string) =>
        writeFile(file, JSON.stringify({ auths: { [registry.host]: { username: "user", password } } }));
      await write("wrong");
      settings = { registries: [], dockerConfigs: [file] };
      const resolver = resolverOf();
      await assert.rejects(resolve(resolver, registry.host), { code: "unauthorized" });
      await write(secret);
      await resolve(resolver, registry.host);
    });

    test("a credential provider, after another source was refused", async () => {
      const registry = await start({ kind, username: "user", password: secret });
      const providers = await makeProviders(scope);
      const auth = { [registry.host]: { username: "user", password: secret } };
      await providers.program("p", answering({ cacheKeyType: "Registry", auth }));
      await providers.configure({ name: "p", matchImages: [registry.host] });
      const { config, binaries } = providers;
      settings = {
        ...settings,
        registries: [await entry(registry.host, "old")],
        credentialProviders: { config, binaries },
      };
      const resolver = resolverOf();
      for (const name of ["a/b", "team/app", "team/other"]) await resolve(resolver, registry.host, name);
      assert.equal((await providers.requests()).length, 1);
      assert.deepEqual(resolver.problems, []);
    });

    test("the runtime's own configuration, last", async () => {
      const registry = await start({ kind, username: "user", password: secret });
      const credential = { kind: "password", username: "user", password: secret } as const;
      const tables = { mirrors: {}, configs: { [registry.host]: { auth: credential } } };
      await resolve(resolverOf({ access: async () => registryAccess({ tables }) }), registry.host);
    });
  });
}

test("a credential provider that fails is named where credentials are what is missing", async () => {
  const registry = await start({ kind: "basic", username: "user", password: secret });
  const providers = await makeProviders(scope);
  await providers.program("p", `echo ${secret}; exit 7`);
  await providers.configure({ name: "p", matchImages: [registry.host] });
  const places = { config: providers.config, binaries: providers.binaries, environment: { PATH: process.env.PATH } };
  const resolver = resolverOf({ kubelet: async () => places });
  await assert.rejects(resolve(resolver, registry.host), {
    code: "unauthorized",
    message:
      /registries\[\]\.credentials of AgentConfig.* Also: the credential provider .*\/p failed with exit status 7/,
  });
  assert.equal(resolver.problems.length, 1);
});

test("secrets are in no error, no property of it, no problem and no command line", async () => {
  const errors: unknown[] = [];
  const commands = new Set<string>();
  const providers = await makeProviders(scope);
  await providers.program(
    "p",
    `sleep 0.1; ${answering({ cacheKeyType: "Image", auth: { "127.0.0.1": { username: "u", password: secret } } })}`,
  );
  await providers.configure({ name: "p", matchImages: ["127.0.0.1:1"], env: [{ name: "TOKEN", value: secret }] });
  const helper = join(directory, "docker-credential-canary");
  // It runs until its command line was seen, however busy the machine is.
  const seen = join(directory, "seen");
  const wait = `until [ -e ${seen} ]; do sleep 0.02; done`;
  await writeFile(helper, `#!/bin/sh\ncat >/dev/null\n${wait}\necho '{"Username":"u","Secret":"${secret}"}'\n`);
  await chmod(helper, 0o755);
  const dockerConfig = join(directory, "docker.json");
  await writeFile(dockerConfig, JSON.stringify({ credsStore: "canary", auths: { x: { auth: secret } } }));
  const encoded = Buffer.from(`u:${secret}`).toString("base64");
  for (const kind of kinds) {
    for (const failure of ["refused", 403, 404, 500, "echo"] as const) {
      const registry = await start({ kind, username: "u", password: failure === "refused" ? "other" : secret });
      const said = JSON.stringify({ errors: [{ code: "X", message: `${secret} ${encoded}` }] });
      const { config, binaries } = providers;
      await providers.configure({ name: "p", matchImages: [registry.host], env: [{ name: "TOKEN", value: secret }] });
      settings = {
        registries: [await entry(registry.host, secret)],
        dockerConfigs: [dockerConfig],
        credentialProviders: { config, binaries },
      };
      const resolver = resolverOf();
      if (failure !== "refused") {
        await resolve(resolver, registry.host).catch((error: unknown) => errors.push(error));
        const status = failure === "echo" ? 401 : failure;
        registry.fault(
          /manifests/,
          { kind: "status", status, body: said, headers: { "www-authenticate": "Basic" } },
          1000,
        );
      }
      let isDone = false;
      const watching = (async () => {
        while (!isDone)
          for (const command of await commandLines()) {
            commands.add(command);
            if (command.includes("docker-credential-canary")) await writeFile(seen, "");
          }
      })();
      await resolve(resolver, registry.host).catch((error: unknown) => errors.push(error));
      const digest = image.manifest.digest;
      const reference = parseReference(`${registry.host}/a/b`);
      await resolver
        .openImage(reference, digest, parsePlatform("linux/amd64"), { signal })
        .catch((error: unknown) => errors.push(error));
      isDone = true;
      await watching;
      errors.push(resolver.problems, inspect(resolver, { depth: 20 }));
    }
  }
  const text = errors.map((error) => inspect(error, { depth: 20, showHidden: true })).join("\n");
  assert.ok(errors.length >= 20);
  for (const canary of [secret, encoded]) {
    assert.ok(!text.includes(canary), text.slice(Math.max(0, text.indexOf(canary) - 500)).slice(0, 1000));
    assert.ok(![...commands].some((command) => command.includes(canary)));
  }
  assert.ok(
    [...commands].some((command) => command.includes("docker-credential-canary")),
    "a helper was seen",
  );
});

async function commandLines(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && Number(name) > process.pid);
  return Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
}

describe("a kubelet's providers", { skip: needsRoot }, () => {
  /** As many processes as commands, of root and with our mounts unless `namespaces` say otherwise. */
  async function proc(commands: readonly (readonly string[])[], namespaces: readonly string[] = []): Promise<string> {
    const folder = await temporaryDirectory(scope, "proc");
    for (const [i, command] of [[], ...commands].entries()) {
      const process = join(folder, i === 0 ? "self" : String(i));
      await mkdir(join(process, "ns"), { recursive: true });
      await symlink(namespaces[i - 1] ?? "mnt:[1]", join(process, "ns/mnt"));
      await writeFile(join(process, "cmdline"), `${command.join("\0")}\0`);
      await writeFile(join(process, "environ"), "AWS_REGION=x\0HTTPS_PROXY=http://p\0");
    }
    return folder;
  }

  const environment = { AWS_REGION: "x", HTTPS_PROXY: "http://p" };
  let config: string;
  let binaries: string;
  let flags: string[];

  beforeEach(async () => {
    config = join(directory, "c.yaml");
    binaries = join(directory, "bin");
    await writeFile(config, "");
    await mkdir(binaries);
    flags = [`--image-credential-provider-config=${config}`, "--image-credential-provider-bin-dir", binaries];
  });

  test("are found by its flags, with the variables of its process", async () => {
    const places = { config, binaries, environment };
    assert.deepEqual(
      await kubeletProviders(await proc([["/bin/sh"], ["/usr/bin/kubelet", "--v=2", ...flags]])),
      places,
    );
    const handed = [
      `--kubelet-arg=image-credential-provider-config=${config}`,
      "--kubelet-arg",
      `image-credential-provider-bin-dir=${binaries}`,
    ];
    assert.deepEqual(await kubeletProviders(await proc([["/usr/local/bin/k3s server", ...handed]])), places);
  });

  test("are none where no kubelet runs, or another program has such flags", async () => {
    assert.equal(await kubeletProviders(await proc([["/bin/sh", ...flags], ["kubelet"], []])), undefined);
  });

  test("are none of a process in a container that calls itself kubelet, nor of another user's", async () => {
    assert.equal(await kubeletProviders(await proc([["kubelet", ...flags]], ["mnt:[2]"])), undefined);
    const folder = await proc([["kubelet", ...flags]]);
    await chown(join(folder, "1"), 65534, 65534);
    assert.equal(await kubeletProviders(folder), undefined);
  });

  test("are none that others than root can write or replace; links are followed once, by us", async () => {
    const folder = await proc([["kubelet", ...flags]]);
    for (const path of [config, binaries, directory]) {
      await chmod(path, 0o777);
      assert.equal(await kubeletProviders(folder), undefined, path);
      await chmod(path, 0o755);
    }
    const link = join(directory, "link");
    await symlink(binaries, link);
    const linked = [["kubelet", ...flags, `--image-credential-provider-bin-dir=${link}`]];
    assert.deepEqual(await kubeletProviders(await proc(linked)), { config, binaries, environment });
    await chown(binaries, 65534, 65534);
    assert.equal(await kubeletProviders(folder), undefined);
  });

  test("are those of the last flag", () => {
    assert.equal(flag(["kubelet", "--x=1", "-x", "2"], "x"), "2");
    assert.equal(flag(["kubelet", "--x="], "x"), undefined);
  });
});
