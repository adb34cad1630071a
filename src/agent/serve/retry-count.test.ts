import assert from "node:assert/strict";
import { test } from "node:test";
import { RetryCount } from "./retry-count.ts";

const failed = (image: string, action = "fetch") =>
  ({ event: "action-failed", fields: { action, image, error: "no route", code: "unexpected" } }) as const;
const done = (image: string, action = "fetch") => ({ event: "action-done", fields: { action, image } }) as const;

test("what follows a failure of the same is a retry, and nothing else", () => {
  const count = new RetryCount();
  assert.equal(count.note(failed("a")), undefined);
  assert.equal(count.note(failed("b")), undefined);
  assert.equal(count.note(done("a", "set-name")), undefined);
  assert.equal(count.note(failed("a")), "fetch");
  assert.equal(count.note(done("a")), "fetch");
  assert.equal(count.note(done("a")), undefined);
});

test("endless things that fail once take bounded memory", () => {
  const count = new RetryCount();
  for (let i = 0; i < 5000; i++) count.note(failed(`image-${i}`));
  assert.equal(count.note(done("image-0")), undefined);
  assert.equal(count.note(done("image-4999")), "fetch");
});
