#!/usr/bin/env bash
# All set-up and the whole test suite in one command, on a fresh Debian 12 machine.
#
#   tests/run.sh [ctest options]     e.g. tests/run.sh -R codec, tests/run.sh -L e2e
#
# Builds `dev` (ASan, UBSan) and `release` for all tests, though fuzz corpora and tidy run in dev
# alone, engines and installed files in release, and `tsan` for what has threads. Tests with the label
# slow are left out; bench/ has the commands for these.
set -euo pipefail

# shellcheck source=../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/setup.sh"
cd "$SLUICE_REPO"
steps_total=8

step "Debian packages"
install_debian "${SLUICE_BUILD_PACKAGES[@]}" "${SLUICE_PYTHON_PACKAGES[@]}" \
  "${SLUICE_TEST_PACKAGES[@]}"
step "engine, model, numpy and clang-tidy from PyPI"
install_wheels "${SLUICE_WHEELS[@]}" "${SLUICE_TEST_WHEELS[@]}"
export SLUICE_HOME

step "build with ASan and UBSan"
configure dev build/dev
cmake --build --preset dev
step "build the release"
configure release build/release
cmake --build --preset release
step "build what has threads with TSan"
configure tsan build/tsan
cmake --build --preset tsan

jobs=$(nproc)
failed=0
step "tests with ASan and UBSan, and tidy"
ctest --preset dev -j "$jobs" -LE 'release|e2e|bench|slow' "$@" || failed=1
step "tests of the release, with engines and installed files"
ctest --preset release -j "$jobs" -LE 'fuzz|tidy|slow' "$@" || failed=1
step "tests with TSan"
ctest --preset tsan -j "$jobs" -L threads "$@" || failed=1
exit "$failed"
