import type { SetGenerator } from "./image-set.ts";
import type { StoredLayer, Tar } from "./image-store.ts";
import { writeTarHeader } from "./tar-writer.ts";

/**
 * Nine layers that four images share and one more for each: of 3 million layer entries 2 million are files with a content
 * of their own, and the four merged trees have 10 million entries. One folder of each shared layer holds 10,000 entries.
 */
export const many: SetGenerator = {
  name: "MANY",
  description: "3 million layer entries, 2 million contents, 10 million entries in merged trees",
  async make({ scale, store }) {
    const unit = scale === "full" ? 1 : 0.01;
    const shared: StoredLayer[] = [];
    for (let index = 0; index < 9; index++) {
      shared.push(await store.layer(`many-${scale}-${index}`, () => manyTar(index, Math.round(259_000 * unit)), 1));
    }
    const images = [];
    for (let index = 9; index < 13; index++) {
      const top = await store.layer(`many-${scale}-${index}`, () => manyTar(index, Math.round(168_000 * unit)), 1);
      images.push(await store.image(`many/${scale}-${index - 8}:v1`, [...shared, top], ["/bin/true"]));
    }
    return { images };
  },
};

const entriesPerFolder = 12;
const batchBytes = 1 << 20;

/** `entries` entries: in every group of 12 a folder, 8 files of their own content, 1 repeated one, a link, a hard link. */
async function* manyTar(layer: number, entries: number): Tar & AsyncGenerator<Buffer> {
  const bulky = Math.min(10_000, Math.floor(entries / 10));
  let batch = Buffer.alloc(batchBytes);
  let at = 0;
  let made = 0;
  let folder = "";
  for (let index = 0; made < entries; index++) {
    if (at + 2048 > batchBytes) {
      yield batch.subarray(0, at);
      batch = Buffer.alloc(batchBytes);
      at = 0;
    }
    made++;
    const kind = index < bulky ? (index === 0 ? 0 : 1) : (index - bulky) % entriesPerFolder;
    if (kind === 0) {
      const number = index < bulky ? 0 : 1 + Math.floor((index - bulky) / entriesPerFolder);
      // Three levels, so that paths are as deep as those of packages.
      const parents = [`usr/share/data-${layer}/`, `usr/share/data-${layer}/${number >> 7}/`];
      if (number % 128 === 0) {
        for (const name of number === 0 ? ["usr/", "usr/share/", ...parents] : [parents[1]]) {
          writeTarHeader(batch, at, { name, type: "directory" });
          at += 512;
          made++;
        }
      }
      folder = `${parents[1]}folder-${number.toString(36)}/`;
      writeTarHeader(batch, at, { name: folder, type: "directory" });
      at += 512;
      continue;
    }
    const name = `${folder}${names[kind]}-${index.toString(36)}`;
    if (kind === 10) {
      writeTarHeader(batch, at, { name, type: "symlink", linkName: `${names[1]}-${(index - 9).toString(36)}` });
    } else if (kind === 11) {
      const linkName = `${folder}${names[1]}-${(index - 10).toString(36)}`;
      writeTarHeader(batch, at, { name, type: "hardlink", linkName });
    } else {
      const text = kind === 9 ? `content ${index % 1000}\n` : `content ${layer} ${index}\n${fill.slice(0, index % 40)}`;
      writeTarHeader(batch, at, { name, type: "file", sizeBytes: text.length });
      at += 512;
      batch.write(text, at, "latin1");
    }
    at += 512;
  }
  yield Buffer.concat([batch.subarray(0, at), Buffer.alloc(1024)]);
}

const names = [
  "",
  "module",
  "index.js",
  "types",
  "readme",
  "source",
  "map",
  "test",
  "style",
  "license",
  "link",
  "hard",
];
const fill = "abcdefghijklmnopqrstuvwxyz0123456789-_=+";
