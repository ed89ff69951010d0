# What do the scripts share? To be sourced: the cache folder, the Python, and how a missing package comes onto the machine.

cache=$(realpath -m -- "${TIDEWATER_CACHE:-$HOME/.cache/tidewater}")
python=${PYTHON:-python3}

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || die "$1 is not there: install $2"
}

# Debian's packages, where we may install them. Two runs at once take turns.
apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "installing $* from Debian's packages" >&2
  mkdir -p "$cache"
  # A source that cannot be reached is told by update, and matters only if install misses something.
  flock -o "$cache/apt.lock" bash -c 'apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"' apt "$@" >&2
}

# make_venv FOLDER: a Python environment with pip in it. Debian's python3 comes without ensurepip, which brings the pip.
make_venv() {
  local venv=$1 package
  package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
  rm -rf "$venv"
  if has_ensurepip || { apt_install "$package" && has_ensurepip; }; then
    "$python" -m venv "$venv" >&2
    return
  fi
  "$python" -m venv --without-pip "$venv" >&2
  (fetch_pip "$venv/apt" >&2) || die "$python has no ensurepip, and pip cannot be fetched: as root, apt-get install $package"
  "$python" -m zipfile -e "$venv"/apt/usr/share/python-wheels/pip-*.whl "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  rm -r "$venv/apt"
}

has_ensurepip() {
  "$python" -c 'import ensurepip' 2>/dev/null
}

# apt fetches for an ordinary user too, if it keeps its lists in a folder of theirs.
fetch_pip() {
  local apt=(apt-get -qq -o Dir::State::Lists="$1/lists" -o Dir::Cache="$1/cache")
  command -v apt-get >/dev/null || return 1
  echo "fetching pip from Debian's packages"
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" && cd "$1" || return 1
  "${apt[@]}" update
  "${apt[@]}" download python3-pip-whl && dpkg-deb -x python3-pip-whl_*.deb .
}
