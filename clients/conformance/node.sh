#!/usr/bin/env bash
# node.sh: where are the packages that the JavaScript clients need? Installs exactly those of the lock file into the cache folder, with the
# npm that is there, and prints the folder for NODE_PATH.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

version=20
need node "Node $version or newer (Debian: nodejs)"
need npm "npm (Debian: npm)"
found=$(node --version)
printf '%s\n' "v$version" "$found" | sort -VC || die "node is $found, the clients need $version or newer"
source=clients/conformance/javascript
hash=$(cat "$source"/package*.json | sha256sum | cut -c1-12)
packages=$cache/node-$hash
mkdir -p "$cache"
exec 9>"$packages.lock"
flock 9
if [ ! -e "$packages/complete" ]; then
  rm -rf "$packages"
  mkdir -p "$packages"
  cp "$source"/package*.json "$packages/"
  npm ci --prefix "$packages" --cache "$cache/npm" --ignore-scripts --no-audit --no-fund >&2
  touch "$packages/complete"
fi
echo "$packages/node_modules"
