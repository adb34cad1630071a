import assert from "node:assert/strict";
import { test } from "node:test";
import type { Descriptor, Digest } from "../../oci/descriptor.ts";
import { OciError } from "../../oci/oci-error.ts";
import type { ImageSource, ResolvedImage } from "../../oci/resolved-image.ts";
import { CliError } from "../cli-error.ts";
import { closeImages, type OpenImage, openImages, resolveImages } from "./resolve-images.ts";

const platform = { os: "linux", architecture: "amd64" };
const { signal } = new AbortController();

function descriptor(letter: string): Descriptor {
  const digest: Digest = `sha256:${letter.repeat(64)}`;
  return { mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 2 };
}

/** An image that is told apart by one letter. */
function image(letter: string, ...names: string[]): ResolvedImage {
  const target = descriptor(letter);
  return {
    names,
    target,
    manifest: target,
    config: descriptor("c"),
    platform,
    createdSeconds: undefined,
    documents: [],
    layers: [],
    async *openLayer() {},
  };
}

class FakeSource implements ImageSource {
  readonly #resolve: () => Promise<ResolvedImage>;
  closed = 0;

  constructor(resolve: () => Promise<ResolvedImage>) {
    this.#resolve = resolve;
  }

  resolve(): Promise<ResolvedImage> {
    return this.#resolve();
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}

function opened(...images: ResolvedImage[]): OpenImage[] {
  return images.map((each) => ({ argument: `argument-${each.names[0]}`, source: new FakeSource(async () => each) }));
}

test("images come in the order of the arguments, whichever is found first", async () => {
  const late = {
    argument: "a",
    source: new FakeSource(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return image("a", "r/a:1");
    }),
  };
  const counts: number[] = [];
  const images = await resolveImages([late, ...opened(image("b", "r/b:1"))], platform, {
    signal,
    onResolved: (done) => counts.push(done),
  });
  assert.deepEqual(
    images.map(({ names }) => names),
    [["r/a:1"], ["r/b:1"]],
  );
  assert.deepEqual(counts, [1, 2]);
});

test("one image under several names is one image with all of them, sorted", async () => {
  const sources = opened(image("a", "r/z:1"), image("b", "r/b:1"), image("a", "r/a:1"), image("a", "r/z:1"));
  const images = await resolveImages(sources, platform, { signal });
  assert.deepEqual(
    images.map(({ names }) => names),
    [["r/a:1", "r/z:1"], ["r/b:1"]],
  );
});

test("one name for two images is refused with both digests and both arguments", async () => {
  const sources = opened(image("a", "r/a:1"), image("b", "r/b:1", "r/a:1"));
  await assert.rejects(resolveImages(sources, platform, { signal }), (error: unknown) => {
    assert.ok(error instanceof CliError);
    assert.equal(error.code, "conflicting-names");
    assert.match(error.message, /r\/a:1 .*sha256:a{64} \(argument-r\/a:1\).*sha256:b{64} \(argument-r\/b:1\)/);
    return true;
  });
});

test("one failure is told as it is, several are told together", async () => {
  const failing = (name: string) => ({
    argument: name,
    source: new FakeSource(() => Promise.reject(new OciError("not-found", `${name} is not there`))),
  });
  await assert.rejects(resolveImages([failing("x")], platform, { signal }), OciError);
  await assert.rejects(resolveImages([failing("x"), ...opened(image("a")), failing("y")], platform, { signal }), {
    code: "unresolved-images",
    message: "2 images failed:\nx is not there\ny is not there",
  });
});

test("when one argument cannot be opened, the others are closed", async () => {
  const good = new FakeSource(async () => image("a"));
  const open = async (argument: string) => {
    if (argument === "bad") throw new OciError("file-unreadable", "bad is no archive");
    return good;
  };
  await assert.rejects(openImages(["good", "bad"], open), /bad is no archive/);
  assert.equal(good.closed, 1);
});

test("all are closed at the end", async () => {
  const sources = [new FakeSource(async () => image("a")), new FakeSource(async () => image("b"))];
  const images = await openImages(["0", "1"], async (argument) => sources[Number(argument)]);
  await closeImages(images);
  assert.deepEqual(
    sources.map(({ closed }) => closed),
    [1, 1],
  );
});
