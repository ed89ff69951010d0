#!/usr/bin/env bash
# Where is a Chromium for the tests of the console? One that is there, or Debian's: installed where we may, otherwise unpacked into the
# cache folder with the libraries that this machine misses (350 MB). Prints its path.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

fonts=fonts-liberation

there() {
  local name
  for name in "${TIDEWATER_BROWSER:-}" chromium chromium-browser google-chrome; do
    if [ -n "$name" ] && command -v "$name"; then return; fi
  done
  return 1
}

# unpack FOLDER: what `apt-get install` would add here, without installing it. apt keeps its lists in a folder of ours.
unpack() {
  local apt=(apt-get -qq -o Dir::State::Lists="$1/lists" -o Dir::Cache="$1/cache") packages
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/debs"
  "${apt[@]}" update || true
  packages=$("${apt[@]}" --simulate --no-install-recommends install chromium "$fonts" | awk '$1 == "Inst" { print $2 }')
  [ -n "$packages" ] || return 1
  # shellcheck disable=SC2086 # names of packages
  (cd "$1/debs" && "${apt[@]}" download $packages) || return 1
  for package in "$1"/debs/*.deb; do dpkg-deb -x "$package" "$1/root"; done
  rm -r "$1/debs" "$1/lists" "$1/cache"
}

if there; then exit; fi
if apt_install chromium "$fonts"; then
  there && exit
fi
command -v apt-get >/dev/null || die "there is no Chromium: install it, or set TIDEWATER_BROWSER to one"
folder=$cache/chromium
mkdir -p "$cache"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  echo "fetching Chromium from Debian's packages" >&2
  unpack "$folder" >&2 || die "Chromium cannot be fetched from Debian's packages: install it, or set TIDEWATER_BROWSER to one"
  libraries=$(find "$folder/root" -name '*.so*' -printf '%h\n' | sort -u | grep -v "/usr/lib/chromium" | paste -sd:)
  cat >"$folder/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>$folder/root/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>$folder/font-cache</cachedir></fontconfig>
XML
  cat >"$folder/chromium" <<SH
#!/usr/bin/env bash
export LD_LIBRARY_PATH="$libraries" FONTCONFIG_FILE="$folder/fonts.conf"
exec "$folder/root/usr/lib/chromium/chromium" "\$@"
SH
  chmod +x "$folder/chromium"
  touch "$folder/complete"
fi
echo "$folder/chromium"
