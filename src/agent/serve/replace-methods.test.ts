import assert from "node:assert/strict";
import { test } from "node:test";
import { replaceMethods } from "./replace-methods.ts";

class Part {
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(): void {
    this.#count++;
  }

  name(): string {
    return "own";
  }
}

test("what is not replaced works on the part itself, private fields and what changes too", () => {
  const part = new Part();
  const replaced = replaceMethods(part, { name: () => "other" });
  const { add } = replaced;
  add();
  assert.equal(replaced.count, 1);
  assert.equal(part.count, 1);
  assert.equal(replaced.name(), "other");
  assert.equal(part.name(), "own");
});
