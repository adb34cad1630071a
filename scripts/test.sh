#!/bin/sh
# What `npm test` runs after the set-up: format and lint, types, then all tests, or those that the arguments name.
set -eu

scripts/check.sh
if [ $# -eq 0 ]; then
  node test/support/prepare-cache.ts
  set -- 'src/**/*.test.ts' 'test/**/*.test.ts' 'bench/**/*.test.ts' 'scripts/**/*.test.ts'
fi
exec node --test --test-reporter=spec --test-concurrency=2 --test-timeout=600000 "$@"
