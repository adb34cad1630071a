#!/bin/sh
# scripts/setup.sh [--packages FILE] COMMAND...: makes this checkout ready for tests, demo and benchmarks on a fresh Debian
# machine (pinned Node first in PATH, npm packages, Debian packages, those of FILE too), then runs the command.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"

lists=scripts/debian-packages.txt
if [ "${1:-}" = --packages ]; then
  lists="$lists $2"
  shift 2
fi

say() { printf 'setup: %s\n' "$*" >&2; }

bin=$(scripts/node-path.sh --pinned)
PATH=$bin:$root/node_modules/.bin:$PATH:/usr/sbin:/sbin
export PATH
scripts/dependencies.sh

missing() {
  # shellcheck disable=SC2086 # a list
  sed -e 's/#.*//' $lists | while read -r package; do
    [ -n "$package" ] || continue
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) in
      installed) ;;
      *) printf ' %s' "$package" ;;
    esac
  done
}

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  say "not a Debian machine: what needs the packages of $lists is left out where they are missing"
else
  packages=$(missing)
  if [ -n "$packages" ]; then
    if [ "$(id -u)" -eq 0 ]; then
      say "installing Debian packages:$packages"
      export DEBIAN_FRONTEND=noninteractive
      # A lock of another apt is waited for. Lists may be older than the archive: a second try refreshes them.
      install() {
        # shellcheck disable=SC2086 # a list
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends $packages >&2
      }
      install || { apt-get -q -o DPkg::Lock::Timeout=300 update >&2 && install; } || {
        say "apt-get could not install:$packages"
        exit 1
      }
    else
      say "not root: what needs these Debian packages is left out:$packages"
    fi
  fi
fi
if [ "$(id -u)" -ne 0 ]; then
  say "not root: tests that mount disks or run containerd are left out"
fi

[ $# -eq 0 ] || exec "$@"
