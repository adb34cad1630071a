import assert from "node:assert/strict";
import { test } from "node:test";
import { fixedProxy, goProxies } from "./proxies.ts";

const proxy = "http://proxy.example:3128";

test("each scheme has its own proxy, in upper or lower case, with or without a scheme", () => {
  const one = goProxies({ HTTPS_PROXY: proxy });
  assert.equal(one(new URL("https://a.example/")), proxy);
  assert.equal(one(new URL("http://a.example/")), undefined);
  const two = goProxies({ http_proxy: "proxy.example:3128", HTTP_PROXY: "" });
  assert.equal(two(new URL("http://a.example/")), proxy);
  assert.equal(two(new URL("https://a.example/")), undefined);
  assert.equal(goProxies({ HTTP_PROXY: "socks5://x:1" })(new URL("http://a.example/")), undefined);
  assert.equal(goProxies({})(new URL("http://a.example/")), undefined);
});

test("NO_PROXY is read as programs in Go read it", () => {
  for (const [noProxy, url, isDirect] of [
    ["", "https://a.example/", false],
    ["", "https://localhost:5000/", true],
    ["", "https://127.0.0.9/", true],
    ["", "https://[::1]:5000/", true],
    ["*", "https://a.example/", true],
    ["example", "https://a.example/", true],
    ["a.example", "https://a.example/", true],
    ["a.example", "https://b.a.example/", true],
    ["a.example", "https://ba.example/", false],
    [".a.example", "https://a.example/", false],
    [".a.example", "https://b.a.example/", true],
    ["*.a.example", "https://b.a.example/", true],
    ["*.a.example", "https://a.example/", false],
    ["a.example:443", "https://a.example/", true],
    ["a.example:5000", "https://a.example/", false],
    [" b.example , A.Example ", "https://a.EXAMPLE/", true],
    ["10.0.0.0/8", "https://10.9.8.7:5000/", true],
    ["10.0.0.0/8", "https://11.9.8.7/", false],
    ["10.0.0.0/33,fd00::/8", "https://[fd00::1]/", true],
    ["10.1.2.3", "https://10.1.2.3:5000/", true],
    ["10.1.2.3:80", "https://10.1.2.3/", false],
    ["[fd00::1]:443", "https://[fd00::1]/", true],
    ["fd00::1", "https://[fd00::1]:5000/", true],
    ["a.example b.example", "https://a.example/", false],
  ] as const) {
    const found = goProxies({ HTTPS_PROXY: proxy, NO_PROXY: noProxy })(new URL(url));
    assert.equal(found, isDirect ? undefined : proxy, `${noProxy} ${url}`);
  }
});

test("one proxy may be named for all but loopback, or none", () => {
  assert.equal(fixedProxy(proxy)(new URL("https://a.example/")), proxy);
  assert.equal(fixedProxy(proxy)(new URL("http://127.0.0.1:5000/")), undefined);
  assert.equal(fixedProxy("none")(new URL("https://a.example/")), undefined);
});
