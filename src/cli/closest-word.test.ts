import assert from "node:assert/strict";
import { test } from "node:test";
import { closestWord, suggestion } from "./closest-word.ts";

const commands = ["build", "inspect", "ls", "cat", "verify"];

test("a typing error finds the word that was meant", () => {
  assert.equal(closestWord("biuld", commands), "build");
  assert.equal(closestWord("inspct", commands), "inspect");
  assert.equal(closestWord("Verify", commands), "verify");
  assert.equal(closestWord("l", commands), "ls");
});

test("a word that is like none finds nothing", () => {
  assert.equal(closestWord("frobnicate", commands), undefined);
  assert.equal(suggestion("frobnicate", commands), "");
  assert.equal(suggestion("buildd", commands), '; did you mean "build"?');
});
