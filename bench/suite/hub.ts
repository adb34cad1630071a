import { type Base, type BaseRecipe, makeBase, packageLayer, removeBaseTrees, slimBase, trimmings } from "./base.ts";
import { randomNumbers } from "./contents.ts";
import type { SetGenerator, SuiteContext } from "./image-set.ts";
import type { StoredImage, StoredLayer } from "./image-store.ts";
import { smallLayer } from "./tree-layer.ts";

const bases: readonly BaseRecipe[] = [
  slimBase,
  { name: "debian", packages: ["ca-certificates"], slim: false },
  { name: "debian-tools", packages: ["ca-certificates", "curl", "openssl", "perl", "python3-minimal"], slim: true },
];

const small = [
  "nginx-light",
  "redis-server",
  "memcached",
  "haproxy",
  "sqlite3",
  "lua5.4",
  "tcl",
  "lighttpd",
  "stunnel4",
  "git",
  "rsync",
  "ruby",
  "php8.2-cli",
  "python3",
  "postgresql-client-15",
  "mariadb-client",
  "gnuplot-nox",
  "gdb",
  "vim",
  "subversion",
  "erlang-base",
  "mosquitto",
  "varnish",
  "squid",
] as const;
const large = [
  "golang-1.19-go",
  "openjdk-17-jdk-headless",
  "llvm-14",
  "g++-12",
  "rustc",
  "ghc",
  "r-base-core",
] as const;

/** Fifty images over three bases; every second one has its base re-tarred. The small scale has ten. */
export const hub50: SetGenerator = {
  name: "HUB-50",
  description: "8 layers each over 3 bases, every second base re-tarred with other times and order",
  async make(context) {
    const made = [];
    for (const recipe of bases) made.push(await makeBase(context, recipe));
    const number = randomNumbers("hub-50");
    const images: StoredImage[] = [];
    const count = context.scale === "full" ? 50 : 10;
    for (let index = 0; index < count; index++) {
      // One image in eight is large, so that a tenth of them is above 1 GB with what they depend on.
      const big = context.scale === "full" && index % 8 === 7;
      const packages = [small[number(small.length)], big ? large[index >> 3] : small[number(small.length)]];
      images.push(await makeImage(context, index, made[index % bases.length], [...new Set(packages)]));
    }
    await removeBaseTrees(context, bases);
    return { images, changed: await withChange(context, images) };
  },
};

async function makeImage(
  context: SuiteContext,
  index: number,
  base: Base,
  packages: readonly string[],
): Promise<StoredImage> {
  const layers: StoredLayer[] = [index % 2 === 0 ? base.layer : await base.retarred(index)];
  let installed = base.debs;
  for (const name of packages) {
    const debs = await context.debian.resolve([name], installed);
    if (debs.length === 0) continue;
    const over = installed === base.debs ? "" : `-over-${packages[0]}`;
    const options = { installed, slim: base.name !== "debian" };
    layers.push(await packageLayer(context, `hub-${base.name}-${name}${over}`, debs, options));
    installed = [...installed, ...debs];
  }
  layers.push(...(await trimmings(context, `app-${index}`, 5)));
  return context.store.image(`hub/app-${index}:v1`, layers, ["/usr/local/bin/entrypoint"]);
}

async function withChange(context: SuiteContext, images: readonly StoredImage[]): Promise<StoredImage[]> {
  const [first, ...rest] = images;
  const text = '#!/bin/sh\n# version 2\nexec app "$@"\n';
  const entries = { "usr/": "", "usr/local/": "", "usr/local/bin/": "", "usr/local/bin/entrypoint": text };
  const changed = await context.store.layer("hub-changed", () => smallLayer(entries));
  const layers = [...first.layers.slice(0, -1), changed];
  return [await context.store.image("hub/app-0:v2", layers, ["/usr/local/bin/entrypoint"]), ...rest];
}
