#!/usr/bin/env bash
# Builds librocksdb.a once from the sources that the pinned librocksdb-sys crate carries, and keeps it by version.
#
# Cargo would compile RocksDB's C++ again for every profile and every clean target folder (18 of the 22 minutes of a
# clean build on two cores). With the archive in the cache folder both profiles link it instead.
#
# Usage: storage/rocksdb/build.sh      prints the folder that holds librocksdb.a, for ROCKSDB_LIB_DIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

cxx=${CXX:-g++}
flags=(-O2 -g0 -fPIC -std=c++20 -w -include cstdint -DNDEBUG -DLZ4 -DZSTD -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION
  -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
  -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)
case $(uname -m) in
  x86_64) flags+=(-msse4.2 -mpclmul) ;; # hardware CRC32C, on every x86-64 server since 2010
  aarch64) flags+=(-march=armv8-a+crc+crypto) ;;
esac

# The folders of the three crates, as cargo resolved them.
cargo fetch --locked --quiet
read -r sys lz4 zstd < <(cargo metadata --locked --format-version 1 | "$python" -c '
import json, os, sys
found = {p["name"]: p for p in json.load(sys.stdin)["packages"]}
print(*(os.path.dirname(found[n]["manifest_path"]) for n in ("librocksdb-sys", "lz4-sys", "zstd-sys")))')

compiler=$("$cxx" -dumpfullversion -dumpmachine | tr '\n' '-')
key=$(printf '%s ' "$(basename "$sys")" "$(basename "$lz4")" "$(basename "$zstd")" "$compiler" "${flags[@]}" | sha256sum | cut -c1-12)
out=$cache/rocksdb/$(basename "$sys")-$key
end_if_built() {
  [ ! -f "$out/librocksdb.a" ] || { echo "$out"; exit 0; }
}
end_if_built

# Two at once must not remove each other's parts: the second waits, and finds the archive.
mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock -n 9 || { echo "waiting for another run that builds RocksDB" >&2; flock 9; }
end_if_built

# Objects that an interrupted build finished are kept: each is renamed into place when it is whole.
mkdir -p "$out/objects"
jobs=$(nproc)
echo "building RocksDB ($(basename "$sys")) with $jobs jobs, once; it is kept in $out" >&2
{ sed 's#^ *#rocksdb/#; s# *$##' "$sys/rocksdb_lib_sources.txt" | grep '\.cc$' | grep -v 'rocksdb/util/build_version.cc'; echo build_version.cc; } |
  (cd "$sys" && xargs -P "$jobs" -I{} bash -c '
    object=$1/objects/$(echo "{}" | tr / _).o
    [ -f "$object" ] && exit 0
    shift
    "$@" -c "{}" -o "$object.part.$$" && mv "$object.part.$$" "$object" || exit 255 # ends xargs
  ' compile "$out" "$cxx" "${flags[@]}" -I. -Irocksdb/include -Irocksdb -I"$lz4/liblz4/lib" -I"$zstd/zstd/lib")
rm -f "$out"/objects/*.part.* "$out/librocksdb.a.part"
ar crs "$out/librocksdb.a.part" "$out"/objects/*.o
mv "$out/librocksdb.a.part" "$out/librocksdb.a"
rm -r "$out/objects"
echo "$out"
