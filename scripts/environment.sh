#!/usr/bin/env bash
# What does a build need besides Rust, a C++ compiler and Python 3? Prints the variables that cargo needs, as shell code.
#
# libclang (for RocksDB's bindings) comes from the system if it is there, from Debian's packages as root, else from the
# Python wheel. RocksDB's C++ is compiled once and kept; see storage/rocksdb/build.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${TIDEWATER_CACHE:-$HOME/.cache/tidewater}

find_libclang() {
  local found
  found=$(find /usr/lib /usr/local/lib "$cache/libclang" -name 'libclang*.so*' -not -name 'libclang-cpp*' -not -name 'libclang_rt*' 2>/dev/null | head -n 1)
  [ -n "$found" ] && dirname "$found"
}

libclang=${LIBCLANG_PATH:-$(find_libclang || true)}
if [ -z "$libclang" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing libclang from Debian's packages" >&2
  if apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libclang-dev >&2; then
    libclang=$(find_libclang || true)
  fi
fi
if [ -z "$libclang" ]; then
  echo "installing libclang from its Python wheel" >&2
  python3 -m pip install --quiet --target "$cache/libclang" libclang==18.1.1 >&2
  libclang=$(find_libclang)
fi
case $libclang in
  "$cache"/*)
    # The wheel has no headers of its own: the compiler's serve.
    echo "export BINDGEN_EXTRA_CLANG_ARGS='-I$(gcc -print-file-name=include)'"
    ;;
esac
echo "export LIBCLANG_PATH='$libclang'"
echo "export ROCKSDB_STATIC=1"
echo "export ROCKSDB_LIB_DIR='$(storage/rocksdb/build.sh)'"
