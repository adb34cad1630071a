import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Deb, slim, unpack } from "./debian.ts";
import type { SuiteContext } from "./image-set.ts";
import type { StoredLayer } from "./image-store.ts";
import { retarredTree, smallLayer, treeTar } from "./tree-layer.ts";

/** The lowest layer of some images: packages that are unpacked over nothing. */
export type Base = {
  readonly name: string;
  readonly debs: readonly Deb[];
  readonly layer: StoredLayer;
  /** The same files with other times and in another order; `variant` from 1. */
  readonly retarred: (variant: number) => Promise<StoredLayer>;
};

export type BaseRecipe = {
  readonly name: string;
  /** Beside what every Debian system has. */
  readonly packages: readonly string[];
  /** Without documentation and translations. */
  readonly slim: boolean;
};

export const slimBase: BaseRecipe = { name: "debian-slim", packages: [], slim: true };

/** Makes a base. Its tree stays in the work folder until `removeTrees`, for what is made of it later. */
export async function makeBase(context: SuiteContext, recipe: BaseRecipe): Promise<Base> {
  const required = await context.debian.base();
  const more = recipe.packages.length === 0 ? [] : await context.debian.resolve(recipe.packages, required);
  const debs = [...required, ...more];
  const tree = join(context.cache.work, `base-${recipe.name}`);
  const unpacked = async () => {
    if (existsSync(tree)) return;
    const partial = `${tree}.partial`;
    await unpack(debs, partial, { withLinks: true });
    if (recipe.slim) await slim(partial);
    await rename(partial, tree);
  };
  const layer = await context.store.layer(`base-${recipe.name}`, async () => {
    await unpacked();
    return treeTar(tree);
  });
  const retarred = (variant: number) =>
    context.store.layer(`base-${recipe.name}-retarred-${variant}`, async () => {
      await unpacked();
      return retarredTree(tree, 1_700_000_000 + variant * 86_400);
    });
  return { name: recipe.name, debs, layer, retarred };
}

/** Removes the trees that `makeBase` left. */
export async function removeBaseTrees(context: SuiteContext, recipes: readonly BaseRecipe[]): Promise<void> {
  for (const recipe of recipes) {
    await rm(join(context.cache.work, `base-${recipe.name}`), { recursive: true, force: true });
  }
}

/** The layer that installing `debs` over `installed` makes. */
export async function packageLayer(
  context: SuiteContext,
  recipe: string,
  debs: readonly Deb[],
  options: { readonly installed: readonly Deb[]; readonly slim: boolean },
): Promise<StoredLayer> {
  const tree = join(context.cache.work, `tree-${recipe}`);
  try {
    return await context.store.layer(recipe, async () => {
      await unpack(debs, tree, options);
      if (options.slim) await slim(tree);
      return treeTar(tree);
    });
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** The small layers that follow the packages in most images: users, configuration, links, a removal, logs. */
export async function trimmings(context: SuiteContext, name: string, count: number): Promise<StoredLayer[]> {
  const passwd = `root:x:0:0:root:/root:/bin/sh\n${name}:x:999:999::/srv/${name}:/usr/sbin/nologin\n`;
  const configuration = Array.from({ length: 120 }, (_, line) => `${name}.option-${line} = ${line * 7}\n`).join("");
  const kinds = [
    { "etc/": "", "etc/passwd": passwd, "etc/group": `root:x:0:\n${name}:x:999:\n`, "srv/": "", [`srv/${name}/`]: "" },
    { "etc/": "", [`etc/${name}/`]: "", [`etc/${name}/${name}.conf`]: configuration },
    {
      "usr/": "",
      "usr/local/": "",
      "usr/local/bin/": "",
      "usr/local/bin/entrypoint": `#!/bin/sh\nexec ${name} "$@"\n`,
    },
    { "var/": "", "var/log/": "", [`var/log/${name}/`]: "", [`var/log/${name}/access.log`]: { link: "/dev/stdout" } },
    { "usr/": "", "usr/share/": "", "usr/share/.wh.doc": "" },
  ];
  const layers: StoredLayer[] = [];
  for (const [index, entries] of kinds.slice(0, count).entries()) {
    layers.push(await context.store.layer(`trimmings-${name}-${index}`, () => smallLayer(entries)));
  }
  return layers;
}
