import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import { CliError } from "../cli-error.ts";
import { UsageError } from "../usage-error.ts";
import { collectImages } from "./image-list.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "nodewarm-image-list-"));
});
after(() => rm(folder, { recursive: true }));

function imageSet(name: string, ...refs: string[]): string {
  const images = refs.map((ref) => `  - ref: ${ref}\n`).join("");
  return `apiVersion: nodewarm.io/v1alpha1\nkind: ImageSet\nmetadata:\n  name: ${name}\nspec:\n  images:${images === "" ? " []" : ""}\n${images}`;
}

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

const { signal } = new AbortController();
const noInput = { stdin: Readable.from([]), signal };

test("images of the command line come first, then those of the files, each once", async () => {
  const one = await file("one.yaml", imageSet("web", "nginx:1", "redis"));
  const list = await collectImages({ images: ["redis", "app"], imageSetFiles: [one], line: undefined }, noInput);
  assert.deepEqual(list, { images: ["redis", "app", "nginx:1"], line: "web" });
});

test("an image set is read from standard input", async () => {
  const stdin = Readable.from([Buffer.from(imageSet("piped", "nginx"))]);
  const list = await collectImages({ images: [], imageSetFiles: ["-"], line: undefined }, { stdin, signal });
  assert.deepEqual(list, { images: ["nginx"], line: "piped" });
});

test("the line is that of --line, else the image set's name, else default", async () => {
  const one = await file("line.yaml", imageSet("web", "nginx"));
  assert.equal((await collectImages({ images: ["a"], imageSetFiles: [], line: undefined }, noInput)).line, "default");
  assert.equal((await collectImages({ images: ["a"], imageSetFiles: [one], line: undefined }, noInput)).line, "web");
  assert.equal((await collectImages({ images: ["a"], imageSetFiles: [one], line: "x" }, noInput)).line, "x");
});

test("several sets with different names need --line", async () => {
  const two = await file("two.yaml", `${imageSet("web", "nginx")}---\n${imageSet("db", "postgres")}`);
  await assert.rejects(
    collectImages({ images: [], imageSetFiles: [two], line: undefined }, noInput),
    (error: unknown) => {
      return error instanceof UsageError && /several image sets \(web, db\)/.test(error.message);
    },
  );
  const list = await collectImages({ images: [], imageSetFiles: [two], line: "all" }, noInput);
  assert.deepEqual(list, { images: ["nginx", "postgres"], line: "all" });
});

test("several sets of one name are one line", async () => {
  const two = await file("same.yaml", `${imageSet("web", "nginx")}---\n${imageSet("web", "postgres")}`);
  assert.equal((await collectImages({ images: [], imageSetFiles: [two], line: undefined }, noInput)).line, "web");
});

test("sets without images are wrong usage", async () => {
  const empty = await file("empty.yaml", imageSet("web"));
  await assert.rejects(collectImages({ images: [], imageSetFiles: [empty], line: undefined }, noInput), UsageError);
});

test("a file that is not there is named", async () => {
  const missing = join(folder, "missing.yaml");
  await assert.rejects(
    collectImages({ images: [], imageSetFiles: [missing], line: undefined }, noInput),
    (error: unknown) => {
      return error instanceof CliError && error.code === "unreadable-file" && error.message.includes(missing);
    },
  );
});

test("waiting for standard input ends when the user wants to stop", async () => {
  const controller = new AbortController();
  const stdin = new Readable({ read() {} });
  const waiting = collectImages(
    { images: [], imageSetFiles: ["-"], line: undefined },
    { stdin, signal: controller.signal },
  );
  controller.abort();
  await assert.rejects(waiting);
});
