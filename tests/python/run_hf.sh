#!/usr/bin/env bash
# A test of what needs torch, with a real model. usage: run_hf.sh BUILD_DIR FILE.py [unittest options]
#
# torch, transformers and the model come from tests/e2e/run_vllm.sh, which installs them;
# or from $SLUICE_TORCH_PYTHON and the folder $SLUICE_HF_MODEL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../../deploy/setup.sh
. "$here/../../deploy/setup.sh"
build=$1
file=$2
shift 2
python=${SLUICE_TORCH_PYTHON:-$SLUICE_HOME/vllm/bin/python}
export SLUICE_HF_MODEL=${SLUICE_HF_MODEL:-$SLUICE_HOME/smollm2}
if [ ! -x "$python" ] || [ ! -f "$SLUICE_HF_MODEL/config.json" ]; then
  echo "skipped: no $python or no model in $SLUICE_HF_MODEL; run tests/e2e/run_vllm.sh" >&2
  exit 77
fi
export SLUICE_SOURCE=$SLUICE_REPO SLUICED=$build/src/daemon/sluiced
export SLUICE_PAGE_CODER=$build/bench/quality/page_coder
export SLUICE_LIBRARY=$build/src/client/libsluice.so PYTHONPATH=$SLUICE_REPO/python:$SLUICE_REPO/tests/e2e
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
exec "$python" "$here/$file" "$@"
