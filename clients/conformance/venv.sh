#!/usr/bin/env bash
# venv.sh [NAME]: where is the Python that runs these tests, or that of an engine that needs one of its own?
# Makes a virtual environment for requirements.txt (requirements-NAME.txt) unless it is there already, and prints the path of
# its interpreter. The environment is kept in the cache folder by the hash of the requirements.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

requirements=clients/conformance/requirements${1:+-$1}.txt
[ -e "$requirements" ] || die "there is no $requirements"
need "$python" "Python 3.11 or newer (Debian: python3)"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# tomllib came with 3.11, and adbc-driver-flightsql wants it too.
printf '%s\n' 3.11 "$version" | sort -VC || die "$python is $version, the tests need 3.11 or newer: install it, or set PYTHON to it"
hash=$(sha256sum <"$requirements" | cut -c1-12)
venv=$cache/venv${1:+-$1}-$version-$hash
mkdir -p "$cache"
# Two runs at once must not install over each other.
exec 9>"$venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
  make_venv "$venv"
  # What they need beside is named too, where it is not in the list itself.
  constraints=clients/conformance/constraints${1:+-$1}.txt
  [ -e "$constraints" ] || constraints=$requirements
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" --constraint "$constraints" >&2
  touch "$venv/complete"
fi
# The Python client as it stands here, whatever it was when the environment was made.
if [ -z "${1:-}" ]; then
  client="$PWD/clients/python $(sha256sum <clients/python/pyproject.toml)"
  if [ "$(cat "$venv/client" 2>/dev/null)" != "$client" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable clients/python >&2
    echo "$client" >"$venv/client"
  fi
fi
echo "$venv/bin/python"
