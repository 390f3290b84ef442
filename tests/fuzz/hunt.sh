#!/usr/bin/env bash
# Runs the fuzz targets under libFuzzer, one after the other, and keeps what they reached.
#
#   tests/fuzz/hunt.sh SECONDS [TARGET...]     all targets without names; SECONDS each, on an idle core
#
# The canary comes first: a crash that has to be found, or nothing else is believed. Each target
# starts from its folder in tests/fuzz/corpus and from what earlier hunts kept under build/fuzz. Its
# coverage curve goes to bench/results/fuzz-TARGET.json; an input that fails is named and ends the
# hunt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:?usage: tests/fuzz/hunt.sh SECONDS [TARGET...]}
shift
build=${SLUICE_FUZZ_BUILD:-build/fuzz}
cmake --preset fuzz -B "$build" >/dev/null
cmake --build "$build" --target help | grep -o 'fuzz_[a-z_]*:' | tr -d : | sort -u >"$build/targets"
targets=${*:-$(sed 's/^fuzz_//' "$build/targets" | grep -v '^canary$')}

# shellcheck disable=SC2086
cmake --build "$build" --target fuzz_canary $(printf 'fuzz_%s ' $targets) >&2
mkdir -p "$build/found"
if "$build/tests/fuzz/fuzz_canary" -max_total_time=60 -artifact_prefix="$build/found/" \
  >"$build/canary.log" 2>&1; then
  echo "the fuzzer did not find the canary in 60 s: see $build/canary.log" >&2
  exit 1
fi
for target in $targets; do
  kept=$build/corpus/$target
  mkdir -p "$kept"
  "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$build/found/$target-" "$kept" "tests/fuzz/corpus/$target" \
    >"$build/$target.log" 2>&1 || {
    echo "$target failed; its input is in $build/found, the report in $build/$target.log" >&2
    exit 1
  }
  python3 tests/fuzz/curve.py "$target" "$seconds" "$build/$target.log" \
    "bench/results/fuzz-$target.json"
done
