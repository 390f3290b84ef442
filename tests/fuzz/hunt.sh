#!/usr/bin/env bash
# Runs the fuzz targets under libFuzzer, one after the other, and keeps what they reached.
#
#   tests/fuzz/hunt.sh SECONDS [TARGET...]     all targets without names; SECONDS of CPU time each
#
# Needs clang-19 and libclang-rt-19-dev. CPU time, so that a busy machine makes a hunt longer, not
# shorter.
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
# cpu_seconds PID: user and system time so far, 0 when it is gone.
cpu_seconds() {
  awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) / hz); got = 1 }
    END { if (!got) print 0 }' "/proc/$1/stat" 2>/dev/null || echo 0
}

for target in $targets; do
  kept=$build/corpus/$target
  mkdir -p "$kept"
  "$build/tests/fuzz/fuzz_$target" -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$build/found/$target-" "$kept" "tests/fuzz/corpus/$target" \
    >"$build/$target.log" 2>&1 &
  fuzzer=$!
  while kill -0 "$fuzzer" 2>/dev/null && [ "$(cpu_seconds "$fuzzer")" -lt "$seconds" ]; do
    sleep 1
  done
  kill -USR1 "$fuzzer" 2>/dev/null || true # ends it with its statistics and exit code 0
  wait "$fuzzer" || {
    echo "$target failed; its input is in $build/found, the report in $build/$target.log" >&2
    exit 1
  }
  python3 tests/fuzz/curve.py "$target" "$seconds" "$build/$target.log" \
    "bench/results/fuzz-$target.json"
done
