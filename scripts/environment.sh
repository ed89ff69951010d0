#!/usr/bin/env bash
# What does a build need besides Rust, a C++ compiler and Python 3? Prints the variables that cargo needs, as shell code.
#
# libclang (for RocksDB's bindings) comes from the system if it is there, from Debian's packages as root, else from the
# Python wheel. RocksDB's C++ is compiled once and kept; see storage/rocksdb/build.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# Before RocksDB is compiled for a quarter of an hour.
cxx=${CXX:-g++}
need cargo "Rust, with rustup"
need "$cxx" "a C++ compiler (Debian: g++)"
need "$python" "Python 3 (Debian: python3)"
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust=$(rustc --version | cut -d ' ' -f 2)
printf '%s\n' "$wanted" "$rust" | sort -VC || die "Rust $rust is too old: $wanted or newer is needed"

find_libclang() {
  local found
  found=$(find /usr/lib /usr/local/lib "$cache/libclang" -name 'libclang*.so*' -not -name 'libclang-cpp*' -not -name 'libclang_rt*' -print -quit 2>/dev/null)
  [ -n "$found" ] && dirname "$found"
}

install_wheel() {
  mkdir -p "$cache"
  # Two runs at once must not install over each other; what is whole is moved into place.
  exec 9>"$cache/libclang.lock"
  flock 9
  if [ ! -d "$cache/libclang" ]; then
    echo "installing libclang from its Python wheel" >&2
    make_venv "$cache/libclang.part"
    "$cache/libclang.part/bin/python" -m pip install --quiet --disable-pip-version-check --target "$cache/libclang.part/wheel" libclang==18.1.1 >&2
    mv -T "$cache/libclang.part/wheel" "$cache/libclang"
    rm -rf "$cache/libclang.part"
  fi
  exec 9>&-
}

libclang=${LIBCLANG_PATH:-$(find_libclang || true)}
if [ -z "$libclang" ] && apt_install libclang-dev; then
  libclang=$(find_libclang || true)
fi
if [ -z "$libclang" ]; then
  install_wheel
  libclang=$(find_libclang) || die "libclang is not there: as root, apt-get install libclang-dev, or set LIBCLANG_PATH"
fi
rocksdb=$(storage/rocksdb/build.sh) || die "RocksDB could not be built, see above"

# A libclang without headers of its own (the wheel, Debian's libclang1) takes the compiler's; one that has them finds its own first.
headers=$("$cxx" -print-file-name=include)
printf 'export %s=%q\n' \
  LIBCLANG_PATH "$libclang" \
  BINDGEN_EXTRA_CLANG_ARGS "${BINDGEN_EXTRA_CLANG_ARGS:--idirafter $headers}" \
  ROCKSDB_STATIC 1 \
  ROCKSDB_LIB_DIR "$rocksdb"
