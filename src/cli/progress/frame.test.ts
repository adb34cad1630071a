import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest } from "../../oci/descriptor.ts";
import { BuildState } from "./build-state.ts";
import { type FrameStyle, renderFrame, renderResolving } from "./frame.ts";

const MiB = 1 << 20;
const plain: FrameStyle = { columns: 100, rows: 24, unicode: false, colour: false };

function diffID(letter: string): Digest {
  return `sha256:${letter.repeat(64)}`;
}

function start(state: BuildState, letter: string, image: string, sizeBytes: number, nowMs: number): void {
  state.apply({ type: "layer-start", diffID: diffID(letter), image, sizeBytes, reused: false }, nowMs);
}

/** Two layers, one at half of it after two seconds at 10 MiB/s, one that has not read a byte. */
function twoLayers(): BuildState {
  const state = new BuildState({ path: "disk.erofs", layers: 3, bytes: 100 * MiB }, 0);
  start(state, "a", "docker.io/library/nginx:1.29", 40 * MiB, 0);
  start(state, "b", "registry.example/team/app:7", 20 * MiB, 0);
  for (let ms = 100; ms <= 2000; ms += 100) {
    state.apply({ type: "layer-progress", diffID: diffID("a"), bytes: (ms / 1000) * 10 * MiB }, ms);
  }
  return state;
}

test("a bar per running layer with size, rate and remaining time, then a total", () => {
  const [nginx, app, total] = renderFrame(twoLayers(), plain, 2000);
  assert.match(nginx, /^nginx:1\.29 a{12} +=+-+ +50% {2}20\.0 MiB\/40\.0 MiB {2}10\.0 MiB\/s +2s$/);
  assert.match(app, /^\S*team\/app:7 b{12} +-+ +0% +0 B\/20\.0 MiB +0 B\/s +-$/);
  assert.match(total, /^0\/3 layers 2s +=+-+ +20% +20\.0 MiB\/100 MiB +10\.0 MiB\/s +8s$/);
});

test("columns of all bars stand below each other", () => {
  const lines = renderFrame(twoLayers(), plain, 2000);
  const columns = lines.map((line) => line.indexOf("%"));
  assert.equal(new Set(columns).size, 1, lines.join("\n"));
});

test("no line is wider than the terminal, whatever its width", () => {
  for (let columns = 20; columns <= 200; columns += 1) {
    const lines = renderFrame(twoLayers(), { ...plain, columns }, 2000);
    assert.equal(lines.length, 3);
    for (const line of lines) assert.ok(line.length < columns, `${columns}: ${line}`);
    for (const line of lines) assert.match(line, /\d%/);
  }
  assert.equal(renderResolving(3, 50, { ...plain, columns: 12 }).length, 11);
});

test("a low terminal shows the first layers and always the total", () => {
  const state = new BuildState({ path: "d", layers: 9, bytes: 9 * MiB }, 0);
  for (const letter of "abcdef") start(state, letter, `image-${letter}`, MiB, 0);
  const lines = renderFrame(state, { ...plain, rows: 5 }, 1000);
  assert.equal(lines.length, 4);
  assert.match(lines[0], /^image-a/);
  assert.match(lines[3], /^0\/9 layers/);
});

test("a layer that stalls drops to no rate within the window, and its remaining time is unknown", () => {
  const lines = renderFrame(twoLayers(), plain, 7100);
  assert.match(lines[0], / 0 B\/s +-$/);
});

test("finished layers count for the total and have no bar", () => {
  const state = twoLayers();
  state.apply({ type: "layer-end", diffID: diffID("a") }, 4000);
  const lines = renderFrame(state, plain, 4000);
  assert.equal(lines.length, 2);
  assert.match(lines[1], /^1\/3 layers 4s .* 40% {2}40\.0 MiB\/100 MiB/);
});

test("after the layers the total says what is being done", () => {
  const state = twoLayers();
  for (const letter of ["a", "b"]) state.apply({ type: "layer-end", diffID: diffID(letter) }, 3000);
  state.apply({ type: "phase", phase: "metadata" }, 3000);
  assert.match(renderFrame(state, plain, 3000)[0], /^writing metadata 3s/);
  state.apply({ type: "phase", phase: "sync" }, 3000);
  assert.match(renderFrame(state, plain, 3000)[0], /^flushing to disk 3s/);
});

test("an empty layer and a count beyond the announced size stay within 100 %", () => {
  const state = new BuildState({ path: "d", layers: 2, bytes: 10 }, 0);
  start(state, "a", "empty", 0, 0);
  start(state, "b", "liar", 10, 0);
  state.apply({ type: "layer-progress", diffID: diffID("b"), bytes: 1000 }, 500);
  for (const line of renderFrame(state, plain, 1000)) assert.match(line, / 100% /);
});

test("colours and box drawing are used only where the terminal has them", () => {
  const fancy = renderFrame(twoLayers(), { ...plain, unicode: true, colour: true }, 2000)[0];
  assert.match(fancy.replaceAll("\u001b", "^"), /\^\[36m━+\^\[0m\^\[2m─+\^\[0m/);
  assert.match(renderFrame(twoLayers(), plain, 2000).join(""), /^[ -~]+$/);
});
