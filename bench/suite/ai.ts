import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { makeBase, packageLayer, removeBaseTrees, slimBase, trimmings } from "./base.ts";
import { type GeneratedFile, generatedTar, randomNumbers } from "./contents.ts";
import { unpack } from "./debian.ts";
import type { SetGenerator, SuiteContext } from "./image-set.ts";
import type { StoredLayer } from "./image-store.ts";

const mib = 1 << 20;

/** Real files that generated ones are varied from: compilers and libraries for the most part. */
type Pool = { readonly files: readonly { path: string; sizeBytes: number }[]; remove: () => Promise<void> };

async function openPool(context: SuiteContext): Promise<Pool> {
  const directory = join(context.cache.work, "pool");
  const more = context.scale === "full" ? ["ghc", "llvm-14-dev", "libclang-14-dev", "libtorch1.13"] : [];
  const names = ["libllvm14", "golang-1.19-go", "golang-1.19-src", ...more];
  const debs = (await context.debian.resolve(names)).filter((deb) => names.includes(deb.name));
  await unpack(debs, directory);
  const files: { path: string; sizeBytes: number }[] = [];
  for (const entry of (await readdir(directory, { recursive: true, withFileTypes: true })).sort(byPath)) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size } = await stat(path);
    if (size >= 2048) files.push({ path, sizeBytes: size });
  }
  return { files, remove: () => rm(directory, { recursive: true, force: true }) };
}

/** Files of `programsMiB` varied from the pool and of `weightsMiB` in shards of at most 256 MiB, every one distinct. */
function* largeLayer(pool: Pool, seed: string, programsMiB: number, weightsMiB: number): Generator<GeneratedFile> {
  const number = randomNumbers(seed);
  for (let index = 0, left = programsMiB * mib; left > 0; index++) {
    const { path, sizeBytes } = pool.files[number(pool.files.length)];
    const size = Math.min(sizeBytes, left);
    const name = `opt/${seed}/lib/${index >> 8}/file-${index}.so`;
    yield { name, content: { kind: "variant", seed: `${seed}-${index}`, path, sizeBytes: size }, mode: 0o755 };
    left -= size;
  }
  for (let shard = 0, left = weightsMiB; left > 0; shard++, left -= 256) {
    const content = { kind: "weights" as const, seed: `${seed}-shard-${shard}`, sizeBytes: Math.min(left, 256) * mib };
    yield { name: `opt/${seed}/model/shard-${shard}.safetensors`, content };
  }
}

/** Machine-learning images at about a quarter of their real size. */
export const ai3s: SetGenerator = {
  name: "AI-3s",
  description: "vllm-like in 27 layers, pytorch-like in 8, sglang-like with one large layer",
  async make(context) {
    const unit = context.scale === "full" ? 1 : 0.04;
    const pool = lazyPool(context);
    const large = (name: string, programsMiB: number, weightsMiB: number) =>
      context.store.layer(`ai-${context.scale}-${name}`, async () => {
        const files = largeLayer(await pool.open(), name, Math.ceil(programsMiB * unit), Math.ceil(weightsMiB * unit));
        return generatedTar(files);
      });
    const base = await makeBase(context, slimBase);
    const options = { installed: base.debs, slim: true };
    const python = await context.debian.resolve(["python3", "python3-numpy", "ca-certificates"], base.debs);
    const shared = [base.layer, await packageLayer(context, "ai-python", python, options)];
    await removeBaseTrees(context, [slimBase]);
    const middle: StoredLayer[] = [];
    for (let index = 0; index < 17; index++) middle.push(await large(`vllm-${index}`, 2 + 4 * (index % 9), 0));
    const biggest = [await large("vllm-cuda", 900, 0), await large("vllm-torch", 700, 100)];
    const vllm = [...shared, ...biggest, await large("vllm-kernels", 400, 150), ...middle];
    const torch = await large("pytorch-torch", 700, 0);
    const sglang = await large("sglang-all", 1500, 800);
    const end = (name: string, count: number) => trimmings(context, name, count);
    const images = [
      await context.store.image("ai/vllm:v1", [...vllm, ...(await end("vllm", 5))], ["python3"]),
      await context.store.image("ai/pytorch:v1", [...shared, torch, ...(await end("pytorch", 5))], ["python3"]),
      await context.store.image("ai/sglang:v1", [...shared, sglang, ...(await end("sglang", 3))], ["python3"]),
    ];
    await pool.close();
    return { images };
  },
};

/** One image with one gzip layer of 5 GB before compression. */
export const oneLayer: SetGenerator = {
  name: "ONE-5G",
  description: "a single gzip layer of 5 GB",
  async make(context) {
    const unit = context.scale === "full" ? 1 : 0.04;
    const pool = lazyPool(context);
    const layer = await context.store.layer(`one-${context.scale}`, async () =>
      generatedTar(largeLayer(await pool.open(), "one", Math.ceil(3850 * unit), Math.ceil(920 * unit))),
    );
    await pool.close();
    return { images: [await context.store.image("one/five-gigabytes:v1", [layer], ["/opt/one/lib/0/file-0.so"])] };
  },
};

function lazyPool(context: SuiteContext): { open: () => Promise<Pool>; close: () => Promise<void> } {
  let pool: Promise<Pool> | undefined;
  return {
    open: () => (pool ??= openPool(context)),
    close: async () => (await pool)?.remove(),
  };
}

function byPath(a: { parentPath: string; name: string }, b: { parentPath: string; name: string }): number {
  return join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1;
}
