import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hostPlatform } from "../../src/oci/platform.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage, tagInLayout } from "../../test/support/image-maker.ts";
import { run } from "../../test/support/processes.ts";
import { cacheDirectory } from "../../test/support/temporary.ts";
import { debianRelease, unpackLayers } from "./debian-layers.ts";

export type DemoImage = {
  /** Repository and tag: `demo/web:1`. */
  readonly name: string;
  /** What is in it, for people. */
  readonly about: string;
  readonly image: MadeImage;
};

export type DemoImages = {
  /** An OCI layout with all of them. */
  readonly layout: string;
  readonly images: readonly DemoImage[];
};

const appCode = `import json, platform, sys
print(json.dumps({"python": platform.python_version(), "says": "hello from a cache disk", "args": sys.argv[1:]}))
`;

/** Real images of this machine's Debian packages, made once and kept in the cache. */
export async function demoImages(say: (text: string) => void, signal: AbortSignal): Promise<DemoImages> {
  const cache = join(await cacheDirectory(`demo-images-${await debianRelease()}-2`), "layout");
  const list = join(cache, "demo.json");
  const known = await readFile(list, "utf8").catch(() => undefined);
  if (known !== undefined) return { layout: cache, images: JSON.parse(known) };
  say("making images from Debian packages (once; they stay in the cache)");
  const work = await mkdtemp(join(dirname(cache), ".partial-"));
  try {
    const layout = join(work, "layout");
    await mkdir(layout);
    const images = await makeImages(work, layout, say, signal);
    await writeFile(join(layout, "demo.json"), JSON.stringify(images));
    await rm(cache, { recursive: true, force: true });
    await rename(layout, cache);
    return { layout: cache, images };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function makeImages(
  work: string,
  layout: string,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<DemoImage[]> {
  const folders = await unpackLayers(work);
  const layer = async (name: string, folder: string, mtime?: string): Promise<MadeLayer> => {
    signal.throwIfAborted();
    const tar = join(work, `${name}.tar`);
    const fixed = ["--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--format=pax"];
    const times = mtime === undefined ? [] : [`--mtime=${mtime}`];
    await run("tar", ["--create", `--file=${tar}`, `--directory=${folder}`, ...fixed, ...times, "."]);
    const made = await addLayer(layout, { tar, compression: "gzip" });
    await rm(tar);
    say(`layer ${name}: ${(made.tarBytes / 1e6).toFixed(0)} MB, ${(made.descriptor.size / 1e6).toFixed(0)} MB as gzip`);
    return made;
  };
  const small = async (name: string, files: Readonly<Record<string, string>>): Promise<MadeLayer> => {
    const folder = join(work, `files-${name}`);
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    return layer(name, folder, "2026-01-01T00:00:00Z");
  };

  const base = await layer("base", folders.base);
  // A base image built again has the same files under new times: another layer, almost nothing new to store.
  const rebuiltBase = await layer("base-rebuilt", folders.base, "2026-02-01T00:00:00Z");
  const nginx = await layer("nginx", folders.nginx);
  const python = await layer("python", folders.python);
  const numpy = await layer("numpy", folders.numpy);
  const postgres = await layer("postgres", folders.postgres);
  const compiler = await layer("compiler", folders.compiler);
  const app = await small("app", { "srv/app.py": appCode, "etc/app.json": '{"workers": 4}\n' });
  const site = await small("site", {
    "var/www/html/index.html": "<h1>Served from a cache disk</h1>\n",
    "etc/nginx/conf.d/site.conf": "server { listen 8080; root /var/www/html; }\n",
  });
  // Deletes documentation, replaces a whole folder.
  const cleanup = await small("cleanup", {
    "usr/share/.wh.doc": "",
    "usr/share/.wh.man": "",
    "var/log/.wh..wh..opq": "",
    "var/log/README": "Logs go to standard output.\n",
  });
  const settings = await small("settings", { "etc/postgresql/extra.conf": "shared_buffers = 256MB\n" });

  const worker = await small("worker", { "etc/app.json": '{"workers": 16}\n' });
  const source = await small("source", { "src/main.c": "int main(void) { return 0; }\n" });

  const recipes: readonly (readonly [name: string, about: string, layers: readonly MadeLayer[], command: string[]])[] =
    [
      [
        "demo/web:1",
        "nginx, a site, documentation deleted",
        [base, nginx, site, cleanup],
        ["nginx", "-g", "daemon off;"],
      ],
      ["demo/api:1", "python and an application", [base, python, app], ["python3", "/srv/app.py"]],
      ["demo/worker:1", "the application with other settings", [base, python, app, worker], ["python3", "/srv/app.py"]],
      ["demo/build:1", "a C compiler and a source", [base, compiler, source], ["gcc", "--version"]],
      [
        "demo/science:1",
        "python with numpy and the same application",
        [base, python, numpy, app, cleanup],
        ["python3"],
      ],
      ["demo/db:1", "PostgreSQL on a base built a month later", [rebuiltBase, postgres, settings], ["postgres"]],
    ];
  const images: DemoImage[] = [];
  for (const [name, about, layers, command] of recipes) {
    const image = await makeImage(layout, {
      layers,
      platform: hostPlatform(),
      created: "2026-03-01T12:00:00Z",
      run: { Cmd: command, Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
    });
    await tagInLayout(layout, image.manifest, name);
    images.push({ name, about, image });
  }
  return images;
}
