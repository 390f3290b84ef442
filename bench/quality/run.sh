#!/usr/bin/env bash
# The quality bench: every codec on one model and your texts; quality_bench.py has its options.
#
#   bench/quality/run.sh [--build DIR] --model FOLDER --calib FILE... --test FILE... --json OUT [...]
#
# Writes OUT, and prints its table (report.py). Needs a release build,
# and the torch and transformers of tests/e2e/run_vllm.sh, or $SLUICE_TORCH_PYTHON.
set -euo pipefail
# shellcheck source=../../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/setup.sh"
here=$SLUICE_REPO/bench/quality
build=$SLUICE_REPO/build/release
if [ "${1:-}" = --build ]; then
  build=$(cd "$2" && pwd)
  shift 2
fi
python=${SLUICE_TORCH_PYTHON:-$SLUICE_HOME/vllm/bin/python}
[ -x "$python" ] || fail "no $python: tests/e2e/run_vllm.sh installs it"
export SLUICE_PAGE_CODER=$build/bench/quality/page_coder
[ -x "$SLUICE_PAGE_CODER" ] || fail "no $SLUICE_PAGE_CODER: build the release first"
export SLUICED=$build/src/daemon/sluiced SLUICE_LIBRARY=$build/src/client/libsluice.so
[ -x "$SLUICED" ] || fail "no $SLUICED: build the release first"
export PYTHONPATH=$here:$SLUICE_REPO/bench:$SLUICE_REPO/python:$SLUICE_REPO/tests/e2e
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} # threads that spin lose most on a shared machine
exec "$python" "$here/quality_bench.py" "$@"
