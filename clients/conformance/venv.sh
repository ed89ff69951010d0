#!/bin/sh
# Where is the Python that runs these tests? Makes a virtual environment for requirements.txt unless it is there already,
# and prints the path of its interpreter. The environment is kept in the cache folder by the hash of the requirements.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
hash=$(cat "$here/requirements.txt" | sha256sum | cut -c1-12)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/tidewater/venv-$version-$hash
mkdir -p "$(dirname -- "$venv")"
# Two runs at once must not install over each other.
exec 9>"$venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
  touch "$venv/complete"
fi
echo "$venv/bin/python"
