#!/usr/bin/env bash
# clang-tidy (.clang-tidy has the checks) over every file of the product.
#
#   tests/tidy/clang_tidy.sh BUILD [FILE.cc...]     BUILD: a folder with compile_commands.json
#
# From PyPI, not Debian's 19: newer ones do not look into system headers, 3 s a file in place of 14.
set -euo pipefail

# shellcheck source=../../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/setup.sh"
cd "$SLUICE_REPO"
build=${1:?usage: tests/tidy/clang_tidy.sh BUILD [FILE.cc...]}
shift
[ $# -gt 0 ] || set -- src/*/*.cc codec/*.cc store/*.cc transport/*.cc
[ -x "$SLUICE_VENV/bin/clang-tidy" ] ||
  fail "no clang-tidy in $SLUICE_VENV; tests/run.sh installs it"

# The compile commands are GCC's: its warnings and precompiled headers are not known, its own
# headers (sanitizer/) not found.
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 "$SLUICE_VENV/bin/clang-tidy" -p "$build" --quiet \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-gch \
  --extra-arg="-idirafter$(g++ -print-file-name=include)" 2> >(grep -v ' warnings\? generated' >&2)
