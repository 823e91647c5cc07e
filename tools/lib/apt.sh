# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced by the scripts of tools/. need_packages NAME... installs those Debian packages that are missing, and only
# those. It ends the script, with words, when it cannot.

# What the build itself needs, and what it uses when it is there. Each further package stands in the script that
# needs it.
BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config python3 python3-dev
  zlib1g-dev libc-ares-dev libssl-dev libbrotli-dev libzstd-dev)

need_packages() {
  local package missing=() as_root=()

  if ! command -v dpkg-query >/dev/null; then
    need_commands cc cmake ninja pkg-config python3
    echo "Not a Debian system: assuming that what these packages hold is installed: $*"
    return
  fi
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then
    return
  fi

  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "These Debian packages are missing: ${missing[*]}" >&2
      echo "Neither root nor sudo is at hand to install them. As root: apt-get install ${missing[*]}" >&2
      exit 3
    fi
    as_root=(sudo)
  fi
  echo "Installing Debian packages: ${missing[*]}"
  if ! apt_install "${missing[@]}"; then
    "${as_root[@]}" apt-get -qq update || echo "apt-get update failed; trying with the lists at hand" >&2
    if ! apt_install "${missing[@]}"; then
      echo "apt-get could not install: ${missing[*]}" >&2
      tail -n 15 "$apt_log" >&2
      rm -f "$apt_log"
      exit 3
    fi
  fi
  rm -f "$apt_log"
}

# The first try goes with the package lists at hand: usually they are there and good. Uses as_root of the caller.
apt_install() {
  apt_log=${apt_log:-$(mktemp)}
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes -qq --no-install-recommends "$@" </dev/null >"$apt_log" 2>&1
}

need_commands() {
  local command missing=()
  for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "These commands are missing, please install them: ${missing[*]}" >&2
    exit 3
  fi
}

# quietly COMMAND...: runs it, and shows what it printed only when it failed.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" </dev/null >"$log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    cat "$log" >&2
    echo "failed: $*" >&2
  elif grep -q 'warning:\|CMake Warning' "$log"; then
    cat "$log" >&2
  fi
  rm -f "$log"
  return $status
}

# unpack_packages DIR NAME...: the files of Debian packages below DIR, without installing them: for programs that are
# tested against and that a computer should not get for that, such as a second daemon for its clock. What cannot be had
# is left out; its tests are skipped.
unpack_packages() {
  local dir=$1 package work
  shift
  command -v apt-get >/dev/null || return 0
  for package in "$@"; do
    if [ -e "$dir/.$package" ]; then
      continue
    fi
    work=$(mktemp -d)
    if (cd "$work" && apt-get -qq download "$package" && mkdir all && dpkg-deb -x ./*.deb all) >/dev/null 2>&1; then
      mkdir -p "$dir"
      cp -R "$work/all/." "$dir"
      touch "$dir/.$package"
    else
      echo "The Debian package $package cannot be downloaded: what is tested against it is skipped" >&2
    fi
    rm -rf "$work"
  done
}
