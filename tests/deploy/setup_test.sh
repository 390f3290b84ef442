#!/usr/bin/env bash
# deploy/setup.sh in checkouts that were moved, or that share one SLUICE_HOME.
set -euo pipefail
setup=$(cd "$(dirname "$0")/../.." && pwd)/deploy/setup.sh
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
export SLUICE_HOME=$run/home

# A project that says where it is; no compiler, for the time it takes.
for checkout in one two; do
  mkdir -p "$run/$checkout/deploy"
  cp "$setup" "$run/$checkout/deploy"
  cat >"$run/$checkout/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(sample LANGUAGES NONE)
file(WRITE "${CMAKE_BINARY_DIR}/made_for" "${CMAKE_SOURCE_DIR}")
CMAKE
  echo '{"version": 6, "configurePresets": [{"name": "release", "generator": "Ninja"}]}' \
    >"$run/$checkout/CMakePresets.json"
done

# configured CHECKOUT ANEW: sets it up; says so, and starts anew, where it must and only there.
configured() {
  local said anew=no
  said=$(bash -euo pipefail -c '. "$1/deploy/setup.sh" && configure release "$SLUICE_BUILD"' _ \
    "$run/$1" 2>&1) || { echo "FAILED: $1 could not be set up: $said"; exit 1; }
  [ "$(cat "$SLUICE_HOME/build/made_for")" = "$run/$1" ] || { echo "FAILED: not for $1"; exit 1; }
  [[ $said != *"building anew"* ]] || anew=yes
  [ "$anew" = "$2" ] || { echo "FAILED: $1 built anew: $anew, expected $2: $said"; exit 1; }
}

configured one no
configured one no
configured two yes
mv "$run/two" "$run/three"
configured three yes
mv "$SLUICE_HOME" "$run/other_home"
SLUICE_HOME=$run/other_home
configured three yes
configured three no
echo "a checkout that moves is set up again"
