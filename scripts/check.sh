#!/bin/sh
# Format, lint and types.
set -eu
biome check --error-on-warnings .
tsc -p .
