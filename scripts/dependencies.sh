#!/bin/sh
# Installs the npm packages that package-lock.json names into node_modules when they are missing or of another
# package-lock.json: those of the program with --omit=dev, else all. Expects a fitting `node` first in PATH.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
modules=$root/node_modules
omit=${1:-}

current() {
  [ -f "$modules/.package-lock.json" ] || return 1
  # A folder that npm filled by itself has no copy of the lock file: it is taken as it is.
  if [ -f "$modules/.nodewarm-lock.json" ]; then
    cmp -s "$root/package-lock.json" "$modules/.nodewarm-lock.json" || return 1
  fi
  [ "$omit" = --omit=dev ] || [ -e "$modules/.bin/tsc" ]
}
if current; then exit 0; fi

if ! command -v npm >/dev/null 2>&1; then
  echo "nodewarm: npm is needed once, to install the packages of package-lock.json; it is not on PATH" >&2
  exit 1
fi
if ! mkdir -p "$root/.cache" 2>/dev/null || ! [ -w "$root" ]; then
  echo "nodewarm: $root is not writable and has no node_modules; run 'npm ci --omit=dev' there once as its owner" >&2
  exit 1
fi
# A developer's folder keeps its tools.
if [ -e "$modules/.bin/tsc" ]; then omit=; fi

echo "nodewarm: installing npm packages into $modules" >&2
# Installed beside its place and moved there: a second run at the same time does no harm.
partial=$root/.cache/.node_modules.$$
trap 'rm -rf "$partial"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$partial"
cp "$root/package.json" "$root/package-lock.json" "$partial/"
# shellcheck disable=SC2086 # no argument at all when it is empty
npm ci --prefix "$partial" $omit --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2
cp "$root/package-lock.json" "$partial/node_modules/.nodewarm-lock.json"
if current; then exit 0; fi
if [ -e "$modules" ]; then mv -T "$modules" "$partial/replaced"; fi
mv -T "$partial/node_modules" "$modules" 2>/dev/null || current
