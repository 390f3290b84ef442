#!/usr/bin/env bash
# All set-up and the whole test suite in one command, on a fresh Debian 12 machine.
#
#   tests/run.sh [ctest options]     e.g. tests/run.sh -R codec, tests/run.sh -L e2e
#
# Builds twice: `dev` (ASan, UBSan) for unit, golden, fuzz, fault and tidy tests, `release` for
# those that run real engines or the installed files. Tests with the label slow are left out; bench/
# has the commands for these.
set -euo pipefail

# shellcheck source=../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/setup.sh"
cd "$SLUICE_REPO"
steps_total=6

step "Debian packages"
install_debian "${SLUICE_BUILD_PACKAGES[@]}" "${SLUICE_PYTHON_PACKAGES[@]}" \
  "${SLUICE_TEST_PACKAGES[@]}"
step "engine, model and numpy from PyPI"
install_wheels "${SLUICE_WHEELS[@]}"
export SLUICE_HOME

step "build with ASan and UBSan"
configure dev build/dev
cmake --build --preset dev
step "build the release"
configure release build/release
cmake --build --preset release

step "unit, golden, fuzz, fault and tidy tests, with sanitizers"
failed=0
ctest --preset dev -LE 'release|e2e|bench|slow' "$@" || failed=1
step "tests of the release: engines, installed files"
ctest --preset release -L 'release|e2e|bench' -LE slow "$@" || failed=1
exit "$failed"
