#!/usr/bin/env bash
# Makes the figures in bench/results again: on an idle machine, about 15 minutes, half of it
# downloads and captures that the next run reuses.
#
#   bench/run.sh [quickstart] [transport] [load] [log] [codec] [slow_link]     all without arguments
#   bench/run.sh damage      10^5 trials of damage to the log, 15 minutes
#   bench/run.sh gpu         on a CUDA card, with $SLUICE_TORCH_PYTHON or that of tests/e2e/run_vllm.sh
#   bench/run.sh quality     every codec on three models, most of a day, with the torch of
#                            tests/e2e/run_vllm.sh; bench/quality/run.sh takes other models and texts
#   bench/run.sh profile     measures deploy/profiles anew, with the torch of tests/e2e/run_vllm.sh
#
# bench/README.md says how to read what comes out.
set -euo pipefail

# shellcheck source=../deploy/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/setup.sh"
cd "$SLUICE_REPO"
results=$SLUICE_REPO/bench/results
parts=${*:-quickstart transport load log codec slow_link}
steps_total=$(($(echo "$parts" | wc -w) + 1))
export SLUICE_HOME PYTHONDONTWRITEBYTECODE=1
mkdir -p "$results"

step "set-up and release build"
install_debian "${SLUICE_BUILD_PACKAGES[@]}" "${SLUICE_PYTHON_PACKAGES[@]}" \
  "${SLUICE_TEST_PACKAGES[@]}"
install_wheels "${SLUICE_WHEELS[@]}"
configure release build/release
cmake --build --preset release >&2

for part in $parts; do
  step "$part"
  case "$part" in
    quickstart) deploy/quickstart.sh --json "$results/quickstart.json" ;;
    transport) build/release/bench/micro/transport_bench --json "$results/transport.json" ;;
    load)  # on the disk that holds $SLUICE_HOME
      build/release/bench/load/load_bench --sluiced build/release/src/daemon/sluiced \
        --folder "$SLUICE_HOME/load" --json "$results/load.json" ;;
    log)  # beside fio, on the disk that holds $SLUICE_HOME, which needs 40 GiB for it
      install_debian fio
      mkdir -p "$SLUICE_HOME/log"
      build/release/bench/micro/log_bench --folder "$SLUICE_HOME/log" --gib 4 --rounds 7 --start-gib 40 \
        --json "$results/log.json"
      rm -rf "$SLUICE_HOME/log" ;;
    codec)  # with the dense profile of bench/quality/figures.sh too, where it was made
      kv=$SLUICE_HOME/kv
      [ -f "$kv/gemma_swa.bf16.bin" ] ||
        "$SLUICE_PYTHON" bench/quality/capture_kv.py --out "$kv" --work "$SLUICE_HOME/models" \
          gpl smol qwen gemma
      profiles=()
      for file in deploy/profiles/*.profile "$SLUICE_HOME"/quality/smol-dense.profile; do
        [ ! -f "$file" ] || profiles+=("--profile=$file")
      done
      build/release/bench/micro/codec_bench --kv="$kv/gpl.f16" --kv="$kv/smol.bf16" \
        --kv="$kv/qwen.bf16" --kv="$kv/gemma_full.bf16" --kv="$kv/gemma_swa.bf16" \
        "${profiles[@]}" --benchmark_min_time=0.1 --benchmark_repetitions=7 \
        --benchmark_enable_random_interleaving=true --benchmark_out="$results/codec.json" \
        --benchmark_out_format=json
      python3 bench/support/medians.py "$results/codec.json" ;;
    slow_link)
      tests/e2e/run_e2e.sh "$PWD/build/release" ../../bench/ttft/slow_link.py \
        --model "$(model_path)" --json "$results/slow_link.json" ;;
    damage)
      SLUICE_TRIALS=100000 SLUICE_JSON=$results/damage.json build/release/tests/store/disk_damage_test >&2 ;;
    gpu)
      tests/python/run_hf.sh "$PWD/build/release" ../../bench/gpu/hf_load.py --json "$results/gpu.json" ;;
    quality) bench/quality/figures.sh ;;
    profile)
      python=$SLUICE_HOME/vllm/bin/python
      [ -x "$python" ] || fail "no $python: tests/e2e/run_vllm.sh installs it"
      "$SLUICE_PYTHON" bench/quality/materials.py "$SLUICE_HOME/models"
      run=$(mktemp -d)
      build/release/src/daemon/sluiced --socket "$run/s.sock" &
      texts=$SLUICE_HOME/models
      SLUICE_LIBRARY=$PWD/build/release/src/client/libsluice.so PYTHONPATH=$PWD/python \
        HF_HUB_OFFLINE=1 "$python" -m sluice_kv.calibrate --model "$(model_path)" \
        --out "deploy/profiles/${SLUICE_PROFILE%.profile}" --socket "$run/s.sock" \
        --text "$texts/handbook.txt" --text "$texts/stdlib.txt" --text "$texts/jargon.txt" \
        --test "$texts/anarchism.txt" --test /usr/share/common-licenses/GPL-3 \
        >"$results/profile.json"
      kill %%
      rm -rf "$run" ;;
    *) fail "unknown part $part" ;;
  esac
done
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' >"$results/machine.txt"
printf '%s cores, %s, %s\n' "$(nproc)" "$(g++ -dumpfullversion)" "$(git rev-parse --short HEAD)" \
  >>"$results/machine.txt"
python3 bench/plot.py
python3 bench/check_bars.py
