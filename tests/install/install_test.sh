#!/usr/bin/env bash
# Installs a build into an empty prefix and links a ten-line C program against what is there,
# with the C compiler and pkg-config only. usage: install_test.sh BUILD_DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$1" --prefix "$prefix" >/dev/null
for program in sluiced sluice; do
  "$prefix/bin/$program" --version | grep -q . || { echo "$program --version is empty"; exit 1; }
done
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
cc -std=c99 -Wall -Wextra -Werror -o "$prefix/version" "$here/version.c" \
  $(pkg-config --cflags --libs sluice) "-Wl,-rpath,$prefix/lib"
printed=$("$prefix/version")
expected=$(pkg-config --modversion sluice)
[ "$printed" = "$expected" ] || { echo "program says $printed, pkg-config $expected"; exit 1; }
# Only the C ABI is exported: a C++ symbol that leaks would bind an engine to our compiler.
leaked=$(nm -D --defined-only "$prefix/lib/libsluice.so" | awk '{print $3}' | sed 's/@.*//' |
  grep -v '^sluice_' | grep -v '^SLUICE_' || true)
[ -z "$leaked" ] || { echo "libsluice.so exports more than sluice_*:"; echo "$leaked" | head; exit 1; }
echo "installed, linked and run: $printed"
