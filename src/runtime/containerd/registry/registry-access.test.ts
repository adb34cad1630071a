import assert from "node:assert/strict";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import { type ContainerdRegistryAccess, readRegistryAccess } from "./registry-access.ts";

const secret = "canary-b1d7-password";

for (const runtime of await containerdRuntimes()) {
  describe(runtime.name, { skip: runtime.reason ?? false }, () => {
    test("tells its folders of hosts.toml and the proxies of its process", async () => {
      await using scope = new AsyncDisposableStack();
      const environment = { HTTPS_PROXY: "http://proxy.example:3128", no_proxy: "10.0.0.0/8,.svc" };
      const daemon = await runtime.start(scope, { registryHosts: "/etc/one:/etc/two", environment });
      const access = await readRegistryAccess(daemon.address);
      assert.deepEqual(access.hostsDirectories, ["/etc/one", "/etc/two"]);
      assert.equal(access.environment.HTTPS_PROXY, environment.HTTPS_PROXY);
      assert.equal(access.environment.no_proxy, environment.no_proxy);
      assert.ok(Object.keys(access.environment).every((name) => /proxy$/i.test(name)));
      assert.deepEqual(access.problems, []);
      assert.equal(access.local("/etc"), "/etc");
    });

    test("tells its mirrors in the old form, and its defaults where nothing is set", async () => {
      await using scope = new AsyncDisposableStack();
      const daemon = await runtime.start(scope);
      const file = join(daemon.directory, "config.toml");
      const text = (await readFile(file, "utf8")).replace(/^config_path = .*$/m, 'config_path = ""');
      await daemon.stop();
      await writeFile(file, text);
      await daemon.start();
      const [major = 0, minor = 0] = runtime.version.split(".").map(Number);
      const hasDefault = major > 2 || (major === 2 && minor >= 2);
      const defaults = hasDefault ? ["/etc/containerd/certs.d", "/etc/docker/certs.d"] : [];
      assert.deepEqual((await readRegistryAccess(daemon.address)).hostsDirectories, defaults);

      await daemon.stop();
      const images = major === 1 ? "io.containerd.grpc.v1.cri" : "io.containerd.cri.v1.images";
      const registry = `plugins."${images}".registry`;
      await appendFile(
        file,
        `[${registry}.mirrors."a.example"]
endpoint = ["http://127.0.0.1:5000", "https://b.example/root"]
[${registry}.configs."b.example".auth]
username = "user"
password = "${secret}"
${major === 1 ? `[${registry}.configs."b.example".tls]\ninsecure_skip_verify = true\nca_file = "/etc/ca.pem"` : ""}
`,
      );
      await daemon.start();
      const access: ContainerdRegistryAccess = await readRegistryAccess(daemon.address);
      assert.deepEqual(access.hostsDirectories, []);
      assert.deepEqual(access.tables.mirrors, { "a.example": ["http://127.0.0.1:5000", "https://b.example/root"] });
      assert.deepEqual(access.tables.configs["b.example"], {
        ...(major === 1 && { skipVerify: true, caFile: "/etc/ca.pem" }),
        auth: { kind: "password", username: "user", password: secret },
      });
    });
  });
}

test("a containerd that does not run is known by its files and its unit", async () => {
  const access = await readRegistryAccess("/run/nodewarm-no-such.sock", { unit: "nodewarm-no-such.service" });
  assert.match(access.source, /config\.toml$/);
  assert.deepEqual(access.environment, {});
});
