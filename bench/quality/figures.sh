#!/usr/bin/env bash
# Makes the quality figures again: profiles of a model, then every codec on it.
#
#   bench/quality/figures.sh [smollm2] [qwen] [gemma]     all without names; each takes hours on two cores
#
# Needs a release build and the torch of tests/e2e/run_vllm.sh. Models, texts, profiles and journals stay in
# $SLUICE_HOME: a run that was cut goes on when it is started again. The result of a whole one goes to
# bench/results/quality-MODEL.json. Targets put q3 where the points of a model (bars.py) begin: with fewer
# bits KL grows faster than their line says.
set -euo pipefail
# shellcheck source=../../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/setup.sh"
here=$SLUICE_REPO/bench/quality
build=$SLUICE_REPO/build/release
models=$SLUICE_HOME/models profiles=$SLUICE_HOME/quality
python=${SLUICE_TORCH_PYTHON:-$SLUICE_HOME/vllm/bin/python}
[ -x "$python" ] || fail "no $python: tests/e2e/run_vllm.sh installs it"
mkdir -p "$models" "$profiles"
export SLUICE_LIBRARY=$build/src/client/libsluice.so PYTHONPATH=$SLUICE_REPO/python:$here
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
"$SLUICE_PYTHON" "$here/materials.py" "$models"
"$build/src/daemon/sluiced" --socket "$profiles/sluice.sock" &
trap 'kill %1' EXIT

# calibrate MODEL_FILE NAME WINDOWS TARGET OPTION...: makes NAME.profile or NAME.0.profile, ...
calibrate() {
  local model=$1 out=$profiles/$2 windows=$3 target=$4
  shift 4
  compgen -G "$out.*profile" >/dev/null && return
  # Statistics are the same for all of a model.
  [ -f "$out.partial" ] || cp "$profiles/${2%%-*}-dense.partial" "$out.partial" 2>/dev/null || true
  "$python" -m sluice_kv.calibrate --model "$model" --out "$out" --socket "$profiles/sluice.sock" \
    --text "$models/handbook.txt" --text "$models/stdlib.txt" --text "$models/jargon.txt" \
    --test "$models/anarchism.txt" --windows "$windows" --test-windows 3 --target-kl "$target" "$@" >&2
}

# figures NAME WHICH TITLE TARGET CALIBRATION_WINDOWS WINDOWS NEEDLES [SINGLE=TARGET...]
figures() {
  local name=$1 title=$3 target=$4 calibrated=$5 windows=$6 needles=$7 model options=()
  model=$("$SLUICE_PYTHON" -c 'import materials, sys; print(materials.model(*sys.argv[1:]))' "$2" "$models")
  shift 7
  for basis in dense givens; do
    calibrate "$model" "$name-$basis" "$calibrated" "$target" --basis "$basis"
    options+=(--profile "$profiles/$name-$basis".*profile)
  done
  for single in "$@"; do # levels that are coded at once, beside those that are part of finer ones
    calibrate "$model" "$name-dense-${single%=*}" "$calibrated" "${single#*=}" --basis dense --rows 1
    options+=(--profile "$profiles/$name-dense-${single%=*}".*profile)
  done
  "$here/run.sh" --model "$model" --name "$title" "${options[@]}" \
    --calib "$models/handbook.txt" "$models/stdlib.txt" "$models/jargon.txt" \
    --test "$models/anarchism.txt" --windows "$windows" --needles "$needles" \
    --json "$profiles/quality-${title,,}.json"
  cp "$profiles/quality-${title,,}.json" "$SLUICE_REPO/bench/results/"
}

[ $# -gt 0 ] || set -- smollm2 qwen gemma
for which; do
  case "$which" in
    smollm2) figures smollm2 smol SmolLM2-135M 0.00015 12 16 4 single2=0.0017 single1=0.00015 ;;
    qwen) figures qwen qwen Qwen2.5-Coder-0.5B 0.00006 9 6 2 ;;
    gemma) figures gemma gemma Gemma3-270M 0.0008 9 6 2 ;;
    *) fail "no model $which: smollm2, qwen or gemma" ;;
  esac
done
