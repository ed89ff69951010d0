#!/usr/bin/env bash
# adbc_validation.sh DIR: where is the Python that runs a copy of adbc-drivers/validation? Makes its environment, with the newest Python of
# the path (3.13 is the oldest that will do), and prints its interpreter. PYTHON names another.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

oldest=3.13
[ -n "${1:-}" ] || die "no copy of adbc-drivers/validation is named"
[ -d "$1/adbc_drivers_validation/queries" ] || die "$1 is no copy of adbc-drivers/validation"

new_enough() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null | { read -r found && printf '%s\n' "$oldest" "$found" | sort -VC; }
}

for candidate in ${PYTHON:-python3.15 python3.14 python3.13 python3 "$HOME"/.pyenv/versions/3.1[3-9]*/bin/python}; do
  if new_enough "$candidate"; then
    PYTHON=$candidate exec clients/conformance/venv.sh adbc-validation
  fi
done
die "there is no Python $oldest or newer: install one, or set PYTHON to it"
