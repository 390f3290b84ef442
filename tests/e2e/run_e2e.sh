#!/usr/bin/env bash
# Runs one end-to-end test file against a build. usage: run_e2e.sh BUILD_DIR FILE.py [unittest options]
# Engine and model come from deploy/setup.sh's venv (tests/run.sh and the quickstart make it).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../../deploy/setup.sh
. "$here/../../deploy/setup.sh"
build=$1
file=$2
shift 2
[ -x "$SLUICE_PYTHON" ] || fail "no $SLUICE_PYTHON: run tests/run.sh, or set SLUICE_HOME"

SLUICE_MODEL=$(model_path)
[ -f "$SLUICE_MODEL" ] || fail "no model in $SLUICE_VENV: run tests/run.sh"
export SLUICE_MODEL SLUICE_PYTHON SLUICE_SOURCE=$SLUICE_REPO
export SLUICED=$build/src/daemon/sluiced SLUICE_COMMAND=$build/src/cli/sluice
export SLUICE_LIBRARY=$build/src/client/libsluice.so
export PYTHONPATH=$SLUICE_REPO/python:$here:$SLUICE_REPO/bench/quality:$SLUICE_REPO/bench/ttft PYTHONDONTWRITEBYTECODE=1
python=("$SLUICE_PYTHON")
if nm -D "$SLUICE_LIBRARY" | grep __asan_init >/dev/null; then  # -q would end nm by SIGPIPE
  # The library's sanitizer must be loaded before Python; Python's own leaks are not ours.
  python=(env LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    ASAN_OPTIONS=detect_leaks=0 "$SLUICE_PYTHON")
fi
exec "${python[@]}" "$here/$file" "$@"
