import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseChallenges } from "./challenge.ts";
import { defaultEndpoints } from "./endpoint.ts";
import { delayMs, retryAfterMs } from "./retry.ts";
import { Semaphore } from "./semaphore.ts";

describe("parseChallenges", () => {
  const parse = (...values: string[]) =>
    parseChallenges(values).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

  test("reads quoted, plain and several challenges", () => {
    assert.deepEqual(parse('Bearer realm="https://a/token",service="s, \\"x\\"",scope="a,b"'), [
      ["bearer", { realm: "https://a/token", service: 's, "x"', scope: "a,b" }],
    ]);
    assert.deepEqual(parse('Basic realm=test, BEARER Realm = "r" , error=x'), [
      ["basic", { realm: "test" }],
      ["bearer", { realm: "r", error: "x" }],
    ]);
    assert.deepEqual(parse("Negotiate", 'Basic realm="a"'), [
      ["negotiate", {}],
      ["basic", { realm: "a" }],
    ]);
  });

  test("gives back the parameters of any challenge", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
    const value = fc.string({ maxLength: 20 }).filter((text) => !/[\r\n]/.test(text));
    fc.assert(
      fc.property(fc.dictionary(name, value, { noNullPrototype: true }), (parameters) => {
        const text = Object.entries(parameters).map(([key, each]) => `${key}="${each.replace(/["\\]/g, "\\$&")}"`);
        assert.deepEqual(parse(`Bearer ${text.join(",")}`), [["bearer", parameters]]);
      }),
    );
  });

  test("ends for any text", () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void parse(text, `Bearer ${text}`)));
    const start = performance.now();
    parse(`Bearer a="${"\\".repeat(15_000)}`);
    parse(`Bearer ${" a = ".repeat(3000)}`);
    assert.ok(performance.now() - start < 10_000);
  });
});

describe("waiting between attempts", () => {
  const policy = { maxRetries: 5, baseDelayMs: 100, maxDelayMs: 1000, maxRetryAfterMs: 5000 };

  test("doubles with jitter up to a bound", () => {
    assert.equal(delayMs(policy, 0, undefined, 1), 100);
    assert.equal(delayMs(policy, 2, undefined, 1), 400);
    assert.equal(delayMs(policy, 2, undefined, 0), 200);
    assert.equal(delayMs(policy, 50, undefined, 1), 1000);
  });

  test("heeds Retry-After within its bound", () => {
    assert.equal(delayMs(policy, 0, 3000, 1), 3000);
    assert.equal(delayMs(policy, 0, 1e9, 1), 5000);
    assert.equal(delayMs(policy, 0, 0, 1), 100);
  });

  test("reads Retry-After as seconds or as a date", () => {
    const now = Date.UTC(2024, 0, 1);
    assert.equal(retryAfterMs("7", now), 7000);
    assert.equal(retryAfterMs("Mon, 01 Jan 2024 00:00:09 GMT", now), 9000);
    assert.equal(retryAfterMs("Sun, 31 Dec 2023 00:00:09 GMT", now), 0);
    assert.equal(retryAfterMs("soon", now), undefined);
    assert.equal(retryAfterMs(undefined, now), undefined);
  });
});

describe("Semaphore", () => {
  const signal = new AbortController().signal;

  test("lets those in who waited longest, and forgets those who gave up", async () => {
    const semaphore = new Semaphore(1);
    const order: string[] = [];
    const leave = await semaphore.acquire(signal);
    const abort = new AbortController();
    const gone = semaphore.acquire(abort.signal);
    const next = ["a", "b"].map(async (name) => {
      const leaveLater = await semaphore.acquire(signal);
      order.push(name);
      leaveLater();
      leaveLater();
    });
    abort.abort(new Error("tired"));
    await assert.rejects(gone, /tired/);
    leave();
    await Promise.all(next);
    assert.deepEqual(order, ["a", "b"]);
    (await semaphore.acquire(signal))();
  });
});

describe("defaultEndpoints", () => {
  const origins = (host: string, plainHttp: string[] = [], hasAuthorities = false) =>
    defaultEndpoints(host, plainHttp, hasAuthorities).map(({ origin }) => origin);

  test("are https, but http on this machine and where the user says so", () => {
    assert.deepEqual(origins("ghcr.io"), ["https://ghcr.io"]);
    assert.deepEqual(origins("docker.io"), ["https://registry-1.docker.io"]);
    assert.deepEqual(origins("localhost:5000"), ["http://localhost:5000"]);
    assert.deepEqual(origins("127.1.2.3"), ["http://127.1.2.3"]);
    assert.deepEqual(origins("[::1]:5000"), ["http://[::1]:5000"]);
    assert.deepEqual(origins("localhost:443"), ["https://localhost:443"]);
    assert.deepEqual(origins("localhost.example"), ["https://localhost.example"]);
    assert.deepEqual(origins("a.io:80", ["a.io:80"]), ["http://a.io:80"]);
    assert.deepEqual(origins("a.io", ["a.io:80"]), ["https://a.io"]);
    assert.deepEqual(origins("localhost", [], true), ["https://localhost", "http://localhost"]);
  });
});
