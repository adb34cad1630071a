import assert from "node:assert/strict";
import { test } from "node:test";
import { testImage } from "../../../test/support/agent/memory-images.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { LazyImageResolver } from "./lazy-image-resolver.ts";
import { MemoryImageResolver } from "./memory-image-resolver.ts";

const web = parseReference("docker.io/library/web:1");
const { signal } = new AbortController();

/** A registry with one image behind a resolver that is opened late, and how often it was. */
function setting() {
  const registry = new MemoryImageResolver();
  const image = testImage("web-1");
  registry.addImage(web, image);
  registry.setTag(web, image.target.digest);
  const opened = { count: 0, failure: undefined as Error | undefined, wait: Promise.resolve() };
  const lazy = new LazyImageResolver(async () => {
    opened.count++;
    await opened.wait;
    if (opened.failure) throw opened.failure;
    return registry;
  });
  return { registry, lazy, opened, digest: image.target.digest };
}

test("nothing is opened until something is asked, and then once for all who ask at the same time", async () => {
  const { registry, lazy, opened, digest } = setting();
  registry.problems.push("hosts.toml cannot be read");
  assert.deepEqual(lazy.problems, []);
  assert.equal(opened.count, 0);
  const asked = [
    lazy.resolveTag(web, { signal }),
    lazy.openImage(web, digest, hostPlatform(), { signal }),
    lazy.resolveTag(web, { signal, known: digest }),
  ] as const;
  const [tag, image] = await Promise.all(asked);
  assert.equal(tag, digest);
  assert.equal(image.target.digest, digest);
  assert.equal(opened.count, 1);
  assert.deepEqual(lazy.problems, ["hosts.toml cannot be read"]);
});

test("what cannot be opened fails for all who wait, and is opened again for the next", async () => {
  const { lazy, opened, digest } = setting();
  opened.failure = new Error("no descriptors left");
  const asked = await Promise.allSettled([lazy.resolveTag(web, { signal }), lazy.resolveTag(web, { signal })]);
  assert.deepEqual(
    asked.map((each) => each.status === "rejected" && each.reason),
    [opened.failure, opened.failure],
  );
  assert.equal(opened.count, 1);
  opened.failure = undefined;
  assert.equal(await lazy.resolveTag(web, { signal }), digest);
  assert.equal(opened.count, 2);
});

test("who has given up opens nothing", async () => {
  const { lazy, opened } = setting();
  const reason = new Error("given up");
  await assert.rejects(lazy.resolveTag(web, { signal: AbortSignal.abort(reason) }), reason);
  assert.equal(opened.count, 0);
});

test("closed before anything was asked, it opens nothing any more", async () => {
  const { lazy, opened } = setting();
  await lazy.close();
  await lazy.close();
  await assert.rejects(lazy.resolveTag(web, { signal }), { code: "registry-unreachable", message: /web:1/ });
  assert.equal(opened.count, 0);
});

test("closed while it is opened, what was opened is closed", async () => {
  const { registry, lazy, opened } = setting();
  const opening = Promise.withResolvers<void>();
  opened.wait = opening.promise;
  const asked = lazy.resolveTag(web, { signal }).catch(() => {});
  const closing = lazy.close();
  opening.resolve();
  await Promise.all([asked, closing]);
  await assert.rejects(registry.resolveTag(web, { signal }), { code: "registry-unreachable" });
});

test("closing what could not be opened is no error", async () => {
  const { lazy, opened } = setting();
  opened.failure = new Error("no descriptors left");
  const asked = assert.rejects(lazy.resolveTag(web, { signal }), opened.failure);
  await lazy.close();
  await asked;
});
