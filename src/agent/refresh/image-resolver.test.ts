import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  type MadeImage,
  makeImage,
  makeIndex,
  pushToRegistry,
  tagInLayout,
} from "../../../test/support/image-maker.ts";
import { startRegistry } from "../../../test/support/registry.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { OciError } from "../../oci/oci-error.ts";
import { openImageSource } from "../../oci/open-image.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { formatReference, parseReference, type Reference } from "../../oci/reference.ts";
import { readRegistryAccess } from "../../runtime/containerd/registry/registry-access.ts";
import type { ImageResolver } from "./image-resolver.ts";
import { LazyImageResolver } from "./lazy-image-resolver.ts";
import { MemoryImageResolver } from "./memory-image-resolver.ts";
import { RegistryImageResolver } from "./registry-image-resolver.ts";

/** A registry whose tags can be moved, and what asks it. */
type Setting = {
  readonly resolver: ImageResolver;
  /** `HOST/team/app` of the registry. */
  readonly repository: Reference;
  /** Points a tag of the repository at an image or index of the layout. */
  tag(name: string, target: Descriptor): Promise<void>;
  removeTag(name: string, target: Descriptor): Promise<void>;
};

type World = { readonly layout: string; readonly platforms: readonly string[]; readonly scope: Scope };

const signal = new AbortController().signal;
const amd64 = parsePlatform("linux/amd64");
const arm64 = parsePlatform("linux/arm64");

function conformance(name: string, start: (world: World) => Promise<Setting>): void {
  describe(`${name} keeps the contract of image resolvers`, () => {
    const scope = new AsyncDisposableStack();
    let setting: Setting;
    let one: MadeImage;
    let two: MadeImage;
    let index: Descriptor;
    const at = (tag: string): Reference => ({ ...setting.repository, tag });

    before(async () => {
      const layout = await temporaryDirectory(scope, "resolver");
      const layer = () => ({ tar: randomBytes(2000), compression: "none" as const });
      one = await makeImage(layout, { layers: [layer()] });
      two = await makeImage(layout, { layers: [layer()], platform: arm64 });
      index = await makeIndex(layout, [one.manifest, two.manifest]);
      setting = await start({ layout, platforms: ["linux/amd64", "linux/arm64"], scope });
    });
    after(() => scope.disposeAsync());

    test("a tag is what it was moved to last", async () => {
      for (const target of [one.manifest, index, one.manifest]) {
        await setting.tag("moving", target);
        assert.equal(await setting.resolver.resolveTag(at("moving"), { signal }), target.digest);
      }
    });

    test("it makes no difference what the tag is said to have been", async () => {
      await setting.tag("known", one.manifest);
      for (const known of [one.manifest.digest, index.digest, undefined]) {
        const options = known === undefined ? { signal } : { signal, known };
        assert.equal(await setting.resolver.resolveTag(at("known"), options), one.manifest.digest);
      }
      await setting.tag("known", index);
      assert.equal(
        await setting.resolver.resolveTag(at("known"), { signal, known: one.manifest.digest }),
        index.digest,
      );
    });

    test("a reference without a tag means latest", async () => {
      await setting.tag("latest", index);
      assert.equal(await setting.resolver.resolveTag(setting.repository, { signal }), index.digest);
    });

    test("a tag that is not there, or no more, is not found", async () => {
      await assert.rejects(setting.resolver.resolveTag(at("never"), { signal }), { code: "not-found" });
      await setting.tag("gone", two.manifest);
      await setting.resolver.resolveTag(at("gone"), { signal });
      await setting.removeTag("gone", two.manifest);
      const again = setting.resolver.resolveTag(at("gone"), { signal, known: two.manifest.digest });
      await assert.rejects(again, { code: "not-found", message: /gone/ });
    });

    test("an image is opened by its digest whatever the tag says", async () => {
      await setting.tag("opened", index);
      for (const [digest, platform, made] of [
        [index.digest, amd64, one],
        [one.manifest.digest, amd64, one],
      ] as const) {
        const image = await setting.resolver.openImage(at("something-else"), digest, platform, { signal });
        assert.equal(image.target.digest, digest);
        assert.equal(image.manifest.digest, made.manifest.digest);
        assert.equal(image.config.digest, made.config.digest);
        assert.deepEqual(image.names, [formatReference({ ...setting.repository, digest })]);
        let bytes = 0;
        for await (const piece of image.openLayer(0, { signal })) bytes += piece.length;
        assert.equal(bytes, 2000);
      }
    });

    test("an image that is not there is not found, nor one for another platform", async () => {
      const missing: Digest = `sha256:${"0".repeat(64)}`;
      const open = (digest: Digest, platform: string) =>
        setting.resolver.openImage(setting.repository, digest, parsePlatform(platform), { signal });
      await assert.rejects(open(missing, "linux/amd64"), { code: "not-found", message: new RegExp(missing) });
      await assert.rejects(open(one.manifest.digest, "linux/s390x"), { code: "no-matching-platform" });
    });

    test("what is given up ends with the reason", async () => {
      const reason = new Error("given up");
      const aborted = AbortSignal.abort(reason);
      await assert.rejects(setting.resolver.resolveTag(at("known"), { signal: aborted }), reason);
      const opening = setting.resolver.openImage(setting.repository, one.manifest.digest, amd64, { signal: aborted });
      await assert.rejects(opening, reason);
    });

    test("nothing is asked after it was closed, which may be done twice", async () => {
      await setting.resolver.close();
      await setting.resolver.close();
      const asked = setting.resolver.resolveTag(at("known"), { signal });
      await assert.rejects(asked, { code: "registry-unreachable", message: /known/ });
    });
  });
}

conformance("MemoryImageResolver", async (world) => memorySetting(world, (resolver) => resolver));
conformance("LazyImageResolver", async (world) =>
  memorySetting(world, (resolver) => new LazyImageResolver(async () => resolver)),
);

function memorySetting({ layout, platforms }: World, asked: (resolver: MemoryImageResolver) => ImageResolver): Setting {
  const resolver = new MemoryImageResolver();
  const repository = parseReference("registry.example/team/app@sha256:".padEnd(97, "0"));
  const { host, repository: path } = repository;
  return {
    resolver: asked(resolver),
    repository: { host, repository: path },
    async tag(name, target) {
      resolver.setTag({ host, repository: path, tag: name }, target.digest);
      await tagInLayout(layout, target);
      for (const platform of platforms) {
        const source = await openImageSource(`oci:${layout}@${target.digest}`);
        const image = await source.resolve(parsePlatform(platform), { signal }).catch((error: unknown) => {
          if (error instanceof OciError && error.code === "no-matching-platform") return undefined;
          throw error;
        });
        if (image) resolver.addImage({ host, repository: path }, image);
      }
    },
    removeTag: async (name) => resolver.setTag({ host, repository: path, tag: name }, undefined),
  };
}

conformance("RegistryImageResolver with docker-registry", async ({ layout, scope }) => {
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  const resolver = new RegistryImageResolver({
    access: () => readRegistryAccess("/run/nodewarm-no-such.sock", { unit: "nodewarm-no-such.service" }),
    settings: () => ({ registries: [], dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
  });
  scope.defer(() => resolver.close());
  const path = "team/app";
  return {
    resolver,
    repository: { host: registry.host, repository: path },
    tag: (tag, target) => pushToRegistry(layout, target, { origin: registry.origin, repository: path, tag }),
    async removeTag(_tag, target) {
      const url = `${registry.origin}/v2/${path}/manifests/${target.digest}`;
      assert.equal((await fetch(url, { method: "DELETE" })).status, 202);
    },
  };
});
