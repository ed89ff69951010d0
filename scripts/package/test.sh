#!/usr/bin/env bash
# Does what was packaged run where nothing of ours is? Installs the wheel into a new environment and the .deb into a new system, and runs the
# demo from both, without a compiler. Says what it could not do.
# Usage: scripts/package/test.sh FOLDER
set -euo pipefail
folder=$(realpath -- "$1")
cd "$(dirname "$0")/../.."
. scripts/lib.sh
demo=(demo --seconds "${DEMO_SECONDS:-5}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one() {
  local found=("$folder"/$1)
  [ ${#found[@]} = 1 ] && [ -f "${found[0]}" ] || die "$folder has not exactly one $1"
  echo "${found[0]}"
}
wheel=$(one 'tidewater-*.whl')
deb=$(one 'tidewater_*_amd64.deb')

# bare COMMAND…: with no program in reach but those of the environment.
bare() {
  (cd "$work" && env -i PATH="$work/venv/bin" HOME="$work" "$@")
}

check_wheel() {
  echo "== the wheel, in a new environment"
  make_venv "$work/venv"
  "$work/venv/bin/python" -m pip install --quiet --no-index --disable-pip-version-check "$wheel"
  bare tidewater --version
  bare tidewater "${demo[@]}" </dev/null
  "$work/venv/bin/python" -m pip uninstall --quiet --yes --disable-pip-version-check tidewater
  [ ! -e "$work/venv/bin/tidewater" ] || die "pip did not take the program away"
}

# new_system FOLDER: the smallest Debian. Fetched once and kept; only root can.
new_system() {
  [ "$(id -u)" = 0 ] || return 1
  command -v debootstrap >/dev/null || apt_install debootstrap || return 1
  local suite
  suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME" || echo bookworm)
  local base=$cache/system-$suite
  if [ ! -e "$base.complete" ]; then
    echo "fetching the smallest Debian $suite" >&2
    rm -rf "$base"
    debootstrap --variant=minbase "$suite" "$base" >"$base.log" 2>&1 || { tail -3 "$base.log" >&2; return 1; }
    touch "$base.complete"
  fi
  cp -a "$base" "$1"
}

# inside COMMAND…: in the new system, with its own processes and mounts.
inside() {
  unshare --mount --pid --fork --mount-proc="$work/system/proc" \
    chroot "$work/system" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

as_service() {
  inside runuser -u tidewater -- sh -c 'cd /var/lib/tidewater && export HOME=$PWD && exec "$@"' sh "$@"
}

check_deb() {
  echo "== the .deb, in a new Debian"
  cp "$deb" "$work/system/tidewater.deb"
  ! inside sh -c 'command -v cc || command -v gcc || command -v g++ || command -v cargo' || die "the new system has a compiler"
  inside dpkg --install /tidewater.deb
  inside tidewater --version
  as_service tidewater config check --config /etc/tidewater/tidewater.toml
  as_service tidewater "${demo[@]}"
  as_service touch kept
  inside sh -c 'echo "# by an administrator" >>/etc/tidewater/tidewater.toml'
  inside dpkg --install /tidewater.deb
  grep -q administrator "$work/system/etc/tidewater/tidewater.toml" || die "an upgrade took the configuration back"
  as_service tidewater config check --config /etc/tidewater/tidewater.toml
  inside dpkg --remove tidewater
  [ -e "$work/system/etc/tidewater/tidewater.toml" ] || die "remove took the configuration away"
  rm "$work/system/etc/tidewater/tidewater.toml"
  inside dpkg --install /tidewater.deb
  inside tidewater --version
  inside dpkg --purge tidewater
  [ ! -e "$work/system/etc/tidewater/tidewater.toml" ] || die "purge left the configuration"
  [ -e "$work/system/var/lib/tidewater/kept" ] || die "purge took the data away"
}

check_unpacked() {
  echo "== the .deb, unpacked only"
  mkdir "$work/unpacked"
  dpkg-deb -x "$deb" "$work/unpacked"
  bare "$work/unpacked/usr/bin/tidewater" --version
  bare "$work/unpacked/usr/bin/tidewater" "${demo[@]}" </dev/null
}

check_wheel
if new_system "$work/system"; then
  check_deb
  echo "wheel and .deb were installed, run and removed"
elif command -v dpkg-deb >/dev/null; then
  check_unpacked
  echo "the wheel was installed and run; the .deb was unpacked and run with this machine's libraries: that it installs is NOT CHECKED (it takes root and debootstrap)"
else
  echo "the wheel was installed and run; the .deb is NOT CHECKED (there is no dpkg here)"
fi
