#!/usr/bin/env bash
# go.sh: where are the programs that ask with Go's clients? Builds them with the Go that is there, modules and all in the cache folder,
# and prints the folder that they are in. Beside them is `go`, for programs that use the same modules.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

version=1.25
need "${TIDEWATER_GO:=go}" "Go $version or newer, or set TIDEWATER_GO to one"
found=$("$TIDEWATER_GO" env GOVERSION)
printf '%s\n' "go$version" "$found" | sort -VC || die "$TIDEWATER_GO is $found, the clients need $version or newer"
source=clients/conformance/go
# What is built depends on these files and this Go alone.
hash=$({
  echo "$found"
  find "$source" -type f \( -name '*.go' -o -name 'go.*' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
} | sha256sum | cut -c1-12)
programs=$cache/go/programs-$hash
mkdir -p "$cache/go"
exec 9>"$programs.lock"
flock 9
if [ ! -e "$programs/complete" ]; then
  rm -rf "$programs"
  mkdir -p "$programs"
  cat >"$programs/go" <<SH
#!/usr/bin/env bash
export GOPATH="$cache/go" GOMODCACHE="$cache/go/mod" GOCACHE="$cache/go/build" GOTOOLCHAIN=local GOWORK=off
export GOFLAGS="-mod=readonly -modcacherw -buildvcs=false"
exec "$(command -v "$TIDEWATER_GO")" "\$@"
SH
  chmod +x "$programs/go"
  "$programs/go" build -C "$source" -o "$programs/" ./flightsql ./driver >&2
  "$programs/go" build -C "$source/grafana" -o "$programs/grafana" . >&2
  touch "$programs/complete"
fi
echo "$programs"
