import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  addDocument,
  blobPath,
  makeImage,
  makeIndex,
  pushToRegistry,
  tagInLayout,
} from "../../test/support/image-maker.ts";
import { startRegistry, type TestRegistry } from "../../test/support/registry.ts";
import type { Descriptor, Digest } from "./descriptor.ts";
import { limitValues } from "./limit.ts";
import { ociLimits } from "./limits.ts";
import { MemorySource } from "./memory-source.ts";
import { openImageSource } from "./open-image.ts";
import { parsePlatform } from "./platform.ts";
import type { ImageSource, ResolvedImage } from "./resolved-image.ts";

/** What every source of images must do, run on each of them with the same image. */

const directory = await mkdtemp(join(tmpdir(), "nodewarm-sources-"));
const layout = join(directory, "layout");
const signal = new AbortController().signal;
const amd64 = parsePlatform("linux/amd64");
const layers = [randomBytes(700_000), Buffer.alloc(1024), randomBytes(10)].map((tar) => ({ tar }));
let registry: TestRegistry;
let index: Descriptor;
let memory: MemorySource;

before(async () => {
  registry = await startRegistry();
  const amd = await makeImage(layout, { layers, created: "2024-05-06T07:08:09.123Z", run: { Cmd: ["/a"] } });
  const arm = await makeImage(layout, {
    layers: layers.slice(1),
    platform: parsePlatform("linux/arm64"),
    format: "docker",
  });
  const statement = await makeImage(layout, { layers: [{ tar: Buffer.alloc(3) }] });
  const attestation = {
    ...statement.manifest,
    platform: { os: "unknown", architecture: "unknown" },
    annotations: { "vnd.docker.reference.type": "attestation-manifest" },
  };
  const inner = await makeIndex(
    layout,
    [{ ...arm.manifest, platform: { os: "linux", architecture: "arm64" } }],
    "docker",
  );
  index = await makeIndex(layout, [attestation, amd.manifest, inner]);
  await tagInLayout(layout, index, "v1", { "io.containerd.image.name": `${registry.host}/team/app:v1` });
  await pushToRegistry(layout, index, { origin: registry.origin, repository: "team/app", tag: "v1" });
  execFileSync("tar", ["-cf", join(directory, "oci.tar"), "-C", layout, "."]);
  const blobs = new Map<Digest, Uint8Array>();
  for (const name of await readdir(join(layout, "blobs", "sha256"))) {
    blobs.set(`sha256:${name}`, await readFile(blobPath(layout, `sha256:${name}`)));
  }
  memory = new MemorySource({ names: [`${registry.host}/team/app:v1`], target: index, blobs }, limitValues(ociLimits));
});

after(async () => {
  await registry.stop();
  await rm(directory, { recursive: true });
});

const sources: Record<string, () => Promise<ImageSource>> = {
  registry: () => openImageSource(`${registry.host}/team/app:v1`),
  "oci layout": () => openImageSource(`oci:${layout}:v1`),
  "oci archive": () => openImageSource(`oci-archive:${join(directory, "oci.tar")}`),
  "docker archive with a layout": () => openImageSource(`docker-archive:${join(directory, "oci.tar")}`),
  memory: async () => memory,
};

for (const [name, open] of Object.entries(sources)) {
  describe(`an image source: ${name}`, () => {
    test("gives names, documents and layers of the platform asked for", async () => {
      const image = await resolve(open, "linux/amd64");
      assert.deepEqual(image.names, [`${registry.host}/team/app:v1`]);
      assert.deepEqual(image.target, { mediaType: index.mediaType, digest: index.digest, size: index.size });
      assert.deepEqual(image.platform, amd64);
      assert.equal(image.createdSeconds, Date.UTC(2024, 4, 6, 7, 8, 9) / 1000);
      assert.deepEqual(
        image.documents.map(({ descriptor }) => descriptor),
        [image.target, image.manifest, image.config],
      );
      for (const { descriptor, bytes } of image.documents) assert.equal(digest(bytes), descriptor.digest);
      assert.deepEqual(
        image.layers.map(({ diffID }) => diffID),
        layers.map(({ tar }) => digest(tar)),
      );
    });

    test("gives every layer's bytes as stored", async () => {
      const image = await resolve(open, "linux/amd64", async (resolved) => {
        for (const [position, layer] of resolved.layers.entries()) {
          const bytes = await collect(resolved.openLayer(position, { signal }));
          assert.equal(bytes.length, layer.descriptor.size);
          assert.equal(digest(bytes), layer.descriptor.digest);
        }
      });
      assert.equal(image.layers.length, 3);
    });

    test("gives the bytes of a range", async () => {
      await resolve(open, "linux/amd64", async (image) => {
        for (const [position, { descriptor }] of image.layers.entries()) {
          const all = await collect(image.openLayer(position, { signal }));
          const { size } = descriptor;
          const ranges = [
            { offset: 0, length: 1 },
            { offset: 0, length: size },
            { offset: size >> 1, length: (size >> 2) + 1 },
            { offset: size - 1, length: 1 },
          ];
          for (const range of ranges) {
            const bytes = await collect(image.openLayer(position, { signal, range }));
            assert.deepEqual(bytes, all.subarray(range.offset, range.offset + range.length), JSON.stringify(range));
          }
        }
      });
    });

    test("reads one layer several times at once", async () => {
      await resolve(open, "linux/amd64", async (image) => {
        const all = await Promise.all([0, 1, 2, 3].map(() => collect(image.openLayer(0, { signal }))));
        assert.equal(new Set(all.map(digest)).size, 1);
      });
    });

    test("goes through nested indexes", async () => {
      const image = await resolve(open, "linux/arm64");
      assert.equal(image.documents.length, 4);
      assert.equal(image.layers.length, 2);
      assert.deepEqual(image.platform, parsePlatform("linux/arm64/v8"));
      assert.equal(image.createdSeconds, undefined);
    });

    test("says what there is for a platform that it lacks", async () => {
      await assert.rejects(resolve(open, "linux/s390x"), (error: Error & { code?: string }) => {
        assert.equal(error.code, "no-matching-platform");
        assert.match(error.message, /linux\/s390x; there is: linux\/amd64, linux\/arm64\/v8$/);
        return true;
      });
    });

    test("stops when the signal aborts", async () => {
      await resolve(open, "linux/amd64", async (image) => {
        const abort = new AbortController();
        await assert.rejects(async () => {
          for await (const _ of image.openLayer(0, { signal: abort.signal })) abort.abort(new Error("enough"));
        }, /enough/);
        await assert.rejects(
          collect(image.openLayer(0, { signal: AbortSignal.abort(new Error("at once")) })),
          /at once/,
        );
      });
      const source = await open();
      await assert.rejects(
        source.resolve(parsePlatform("linux/arm64"), { signal: AbortSignal.abort(new Error("no")) }),
        /no/,
      );
      await source.close();
    });

    test("lets a reader leave in the middle, and be closed twice", async () => {
      const source = await open();
      const image = await source.resolve(amd64, { signal });
      for await (const piece of image.openLayer(0, { signal })) {
        assert.ok(piece.length > 0);
        break;
      }
      await source.close();
      await source.close();
    });
  });
}

test("a docker archive without OCI documents has the same layers without compression, and always the same manifest", async () => {
  const file = join(directory, "docker.tar");
  await makeDockerArchive(file);
  const open = () => openImageSource(`docker-archive:${file}`);
  const first = await resolve(open, "linux/amd64", async (image) => {
    for (const [position, layer] of image.layers.entries()) {
      assert.equal(digest(await collect(image.openLayer(position, { signal }))), layer.diffID);
      assert.equal(layer.descriptor.digest, layer.diffID);
    }
  });
  assert.deepEqual(
    first.layers.map(({ diffID }) => diffID),
    layers.map(({ tar }) => digest(tar)),
  );
  assert.deepEqual(first.names, ["docker.io/library/app:v1"]);
  assert.deepEqual((await resolve(open, "linux/amd64")).documents, first.documents);
  await assert.rejects(resolve(open, "linux/arm64"), { code: "no-matching-platform" });
});

test("a manifest below an index of a layout can be named by its digest", async () => {
  const { manifest } = await resolve(() => openImageSource(`oci:${layout}:v1`), "linux/arm64");
  const image = await resolve(() => openImageSource(`oci:${layout}@${manifest.digest}`), "linux/arm64");
  assert.deepEqual(image.target, manifest);
  assert.deepEqual(image.names, []);
  const absent = `sha256:${"0".repeat(64)}`;
  await assert.rejects(
    resolve(() => openImageSource(`oci:${layout}@${absent}`), "linux/arm64"),
    { code: "not-found" },
  );
});

test("compressed layers of a docker archive get the digest of what is stored", async () => {
  const file = join(directory, "compressed.tar");
  const stored = gzipSync(layers[0].tar);
  await makeDockerArchive(file, stored);
  await resolve(
    () => openImageSource(`docker-archive:${file}:app:v1`),
    "linux/amd64",
    async (image) => {
      const { mediaType, digest: name, size } = image.layers[0].descriptor;
      assert.deepEqual(
        [mediaType, name, size],
        ["application/vnd.docker.image.rootfs.diff.tar.gzip", digest(stored), stored.length],
      );
      assert.equal(image.layers[0].diffID, digest(layers[0].tar));
      assert.ok((await collect(image.openLayer(0, { signal }))).equals(stored));
    },
  );
  await assert.rejects(
    resolve(() => openImageSource(`docker-archive:${file}:other`), "linux/amd64"),
    /no image docker\.io\/library\/other:latest; there is: docker\.io\/library\/app:v1/,
  );
});

test("a layout with several images wants one named, and knows them by tag, digest and name", async () => {
  const several = join(directory, "several");
  const one = await makeImage(several, { layers: [{ tar: Buffer.from("one") }] });
  const two = await makeImage(several, { layers: [{ tar: Buffer.from("two") }], format: "docker" });
  await tagInLayout(several, one.manifest, "docker.io/library/one:1");
  await tagInLayout(several, two.manifest, "two");
  const manifestOf = async (argument: string) =>
    (await resolve(() => openImageSource(argument), "linux/amd64")).manifest.digest;
  assert.equal(await manifestOf(`oci:${several}:two`), two.manifest.digest);
  assert.equal(await manifestOf(`oci:${several}:docker.io/library/one:1`), one.manifest.digest);
  assert.equal(await manifestOf(`oci:${several}@${one.manifest.digest}`), one.manifest.digest);
  await assert.rejects(manifestOf(`oci:${several}`), /name one of: docker\.io\/library\/one:1, two/);
  await assert.rejects(manifestOf(`oci:${several}:three`), { code: "not-found" });
  const image = await resolve(() => openImageSource(`oci:${several}:docker.io/library/one:1`), "linux/amd64");
  assert.deepEqual(image.names, ["docker.io/library/one:1"]);
  assert.deepEqual((await resolve(() => openImageSource(`oci:${several}:two`), "linux/amd64")).names, []);
});

test("a layout that holds only some platforms of an index gives those and names what is missing of others", async () => {
  const sparse = join(directory, "sparse");
  const image = await makeImage(sparse, { layers: [{ tar: Buffer.from("here") }] });
  const absent: Descriptor = {
    ...image.manifest,
    digest: `sha256:${"ab".repeat(32)}`,
    platform: { os: "linux", architecture: "arm64" },
  };
  await tagInLayout(sparse, await makeIndex(sparse, [absent, image.manifest]), "v1");
  const open = () => openImageSource(`oci:${sparse}`);
  assert.equal((await resolve(open, "linux/amd64")).manifest.digest, image.manifest.digest);
  await assert.rejects(resolve(open, "linux/arm64"), /does not hold the blob sha256:abab/);
});

test("files that are no images are refused by name", async () => {
  const broken = join(directory, "broken");
  const image = await makeImage(broken, { layers: [{ tar: Buffer.from("x") }] });
  const chart = await addDocument(
    broken,
    {
      schemaVersion: 2,
      config: { ...image.config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
      layers: [],
    },
    image.manifest.mediaType,
  );
  await tagInLayout(broken, chart, "chart");
  await assert.rejects(
    resolve(() => openImageSource(`oci:${broken}:chart`), "linux/amd64"),
    /not a container image but an artifact of type "application\/vnd\.cncf\.helm\.config\.v1\+json"/,
  );
  await writeFile(blobPath(broken, image.layers[0].descriptor.digest), "longer than before");
  await tagInLayout(broken, image.manifest, "size");
  await assert.rejects(
    resolve(
      () => openImageSource(`oci:${broken}:size`),
      "linux/amd64",
      async (resolved) => void (await collect(resolved.openLayer(0, { signal }))),
    ),
    { code: "size-mismatch" },
  );
  await writeFile(blobPath(broken, image.config.digest), "{}");
  await assert.rejects(
    resolve(() => openImageSource(`oci:${broken}:size`), "linux/amd64"),
    { code: "size-mismatch" },
  );
  await assert.rejects(
    resolve(() => openImageSource(`oci:${directory}/nothing`), "linux/amd64"),
    { code: "not-found" },
  );
  await assert.rejects(openImageSource(`oci-archive:${directory}/nothing`), { code: "file-unreadable" });
  await assert.rejects(openImageSource(`oci-archive:${directory}`), { code: "file-unreadable" });
});

/** In the form of `docker save` before version 25, one layer being a link to another image's. */
async function makeDockerArchive(file: string, firstLayer: Uint8Array = layers[0].tar): Promise<void> {
  const work = await mkdtemp(join(directory, "docker-save-"));
  const config = JSON.stringify({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: layers.map(({ tar }) => digest(tar)) },
  });
  execFileSync("mkdir", ["-p", join(work, "a"), join(work, "b"), join(work, "c")]);
  await writeFile(join(work, "a", "layer.tar"), firstLayer);
  await writeFile(join(work, "b", "layer.tar"), layers[1].tar);
  execFileSync("ln", ["-s", "../b/layer.tar", join(work, "c", "layer.tar")]);
  await writeFile(join(work, "d.tar"), layers[2].tar);
  await writeFile(join(work, "config.json"), config);
  const entry = {
    Config: "config.json",
    RepoTags: ["app:v1", "<none>:<none>"],
    Layers: ["a/layer.tar", "c/layer.tar", "d.tar"],
  };
  await writeFile(join(work, "manifest.json"), JSON.stringify([entry]));
  execFileSync("tar", ["-cf", file, "-C", work, "."]);
}

/** Opens, resolves, lets `use` work with the image, closes. */
async function resolve(
  open: () => Promise<ImageSource>,
  platform: string,
  use: (image: ResolvedImage) => Promise<void> = async () => {},
): Promise<ResolvedImage> {
  const source = await open();
  try {
    const image = await source.resolve(parsePlatform(platform), { signal });
    await use(image);
    return image;
  } finally {
    await source.close();
  }
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

function digest(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
