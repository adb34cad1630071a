#!/bin/sh
# What `npm test` runs after the set-up: format and lint, types, then all tests, or those that the arguments name.
set -eu

scripts/check.sh
if [ $# -eq 0 ]; then
  node test/support/prepare-cache.ts
  set -- 'src/**/*.test.ts' 'test/**/*.test.ts' 'bench/**/*.test.ts' 'scripts/**/*.test.ts'
fi
# Tests start Node hundreds of times: compiled code is kept from one to the next, for this run alone so that it does not pile up.
NODE_COMPILE_CACHE=$PWD/.cache/compile-tests
export NODE_COMPILE_CACHE
rm -rf "$NODE_COMPILE_CACHE"
exec node --test --test-reporter=spec --test-concurrency=2 --test-timeout=600000 "$@"
