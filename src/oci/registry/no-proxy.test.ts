import assert from "node:assert/strict";
import { test } from "node:test";
import { isProxyBypassed } from "./no-proxy.ts";

const cases: readonly [url: string, noProxy: string, isBypassed: boolean][] = [
  ["http://registry.example.com/v2/", "", false],
  ["http://registry.example.com/v2/", "other.example, registry.example.com", true],
  ["http://registry.example.com/v2/", "Example.COM.", true],
  ["http://registry.example.com./v2/", ".example.com", true],
  ["http://example.com/", ".example.com", true],
  ["http://example.com/", "*.example.com", false],
  ["http://a.example.com/", "*.example.com", true],
  ["http://notexample.com/", "example.com", false],
  ["https://example.com/", "example.com:443", true],
  ["http://example.com/", "example.com:443", false],
  ["http://example.com:5000/", "a,example.com:5000", true],
  ["http://10.1.2.3/", "10.1.2.3", true],
  ["http://[::1]:5000/", "::1", true],
  ["http://[::1]:5000/", "[::1]:5000", true],
  ["http://[::1]:5000/", "[::1]:443", false],
  ["http://anything/", "none.example *", true],
  ["http://anything/", "*:443", false],
];

for (const [url, noProxy, isBypassed] of cases)
  test(`NO_PROXY="${noProxy}" ${isBypassed ? "names" : "does not name"} ${url}`, () => {
    assert.equal(isProxyBypassed(new URL(url), noProxy), isBypassed);
  });
