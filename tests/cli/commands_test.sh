#!/usr/bin/env bash
# The two programs as an operator meets them: start, ask, bad input, drain, kill, start again.
# usage: commands_test.sh SLUICED SLUICE
set -euo pipefail
sluiced=$1
sluice=$2
run=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$run"' EXIT
socket=$run/s.sock
export SLUICE_SOCKET=$socket

fail() {
  echo "FAILED: $*"
  cat "$run"/*.log 2>/dev/null || true
  exit 1
}

# expect CODE TEXT COMMAND...: the command exits with CODE and prints TEXT somewhere.
expect() {
  local code=$1 text=$2 got=0
  shift 2
  "$@" >"$run/out" 2>&1 || got=$?
  [ "$got" = "$code" ] || fail "'$*' exited with $got, expected $code: $(cat "$run/out")"
  grep -qF -- "$text" "$run/out" || fail "'$*' does not say '$text': $(cat "$run/out")"
}

start() {
  "$sluiced" --socket "$socket" --ram 64MiB 2>"$run/daemon.log" &
  for _ in $(seq 200); do
    if "$sluice" ping >/dev/null 2>&1; then return; fi
    sleep 0.05
  done
  fail "sluiced did not come up"
}

expect 2 "no such option; there are" "$sluiced" --config <(echo '[ram]
size = "1GiB"') --check-config
expect 0 "configuration is valid" "$sluiced" --check-config
expect 2 "16MiB..16TiB" "$sluiced" --ram 1MiB
expect 0 "configuration is valid" "$sluiced" --config /dev/null --check-config
expect 0 "lower --ram or ram.capacity" "$sluiced" --ram 16TiB --check-config
"$sluiced" --check-config 2>&1 | grep -q warning && fail "a warning without a cause"
"$sluiced" --socket "$run/big.sock" --ram 16TiB 2>"$run/big.log" &
sleep 0.5
kill %% 2>/dev/null || true
wait %% || true
grep -q "level=warning event=memory" "$run/big.log" || fail "no warning at start"
expect 2 "at most 16384 bytes" "$sluiced" --config /dev/zero --check-config
expect 2 "Is a directory" "$sluiced" --config / --check-config
expect 2 "there is no disk tier to have it" "$sluiced" --disk-capacity 1GiB --check-config
expect 0 "configuration is valid" "$sluiced" --check-config --disk "$run" --config <(echo '[disk]
capacity = "1GiB"')
for folder in "$run" "$run/none"; do
  expect 0 "warning: $folder: disk.capacity is 900 TiB, but the file system has" "$sluiced" \
    --check-config --disk "$folder" --disk-capacity 900TiB
done
expect 3 "$socket" "$sluice" ping --deadline-ms 200
expect 1 "Start sluiced" "$sluice" doctor

expect 2 "not an empty one" "$sluiced" --disk "" --check-config
expect 2 "--no-such" "$sluiced" --no-such
expect 2 "not an empty name" "$sluice" doctor --disk ""

# Without standard streams nothing of what is told lands in another file; a log nobody reads ends
# nobody.
socket2=$run/t.sock
"$sluiced" --socket "$socket2" --ram 64MiB --disk "$run/disk" --disk-capacity 64MiB <&- >&- 2>&- &
closed=$!
mkfifo "$run/log"
"$sluiced" --socket "$run/u.sock" --ram 64MiB 2>"$run/log" &
unread=$!
read -r _ <"$run/log"
for peer in "$socket2" "$run/u.sock"; do
  for _ in $(seq 200); do
    if "$sluice" ping --socket "$peer" >/dev/null 2>&1; then break; fi
    sleep 0.05
  done
  expect 0 "sluiced " "$sluice" ping --socket "$peer"
done
expect 4 "cannot write the answer" bash -c '"$1" ping --socket "$2" >&-' _ "$sluice" "$socket2"
kill "$closed" "$unread"
wait "$closed" || fail "sluiced without standard streams exited with $?"
wait "$unread" || fail "sluiced whose log nobody reads exited with $?"
[ ! -s "$socket2.lock" ] || fail "log lines are in $socket2.lock: $(cat "$socket2.lock")"

# Each connection and each segment of the log takes a file; the soft limit is raised to the hard one.
expect 1 "raise the limit" bash -c 'ulimit -n 300 && exec "$1" --socket "$2"' _ "$sluiced" "$socket"
ulimit -Sn 64
start
[ "$(ulimit -Hn)" = "$(awk '/^Max open files/ { print $4 }' "/proc/$!/limits")" ] ||
  fail "the soft limit of open files was not raised: $(cat "/proc/$!/limits")"
expect 0 "sluiced " "$sluice" ping
expect 0 '"round_trip_us"' "$sluice" ping --json
expect 0 "ram_capacity_bytes" "$sluice" stat
expect 0 '"what_to_do"' "$sluice" doctor --json --disk "$run"
expect 0 "$run: disk.capacity is 900 TiB, but the file system has" "$sluice" doctor --disk "$run" \
  --disk-capacity 900TiB
expect 2 "is not a quantity like" "$sluice" doctor --disk "$run" --disk-capacity much
expect 2 "--out is required" "$sluice" get
expect 2 '{"error":"invalid_argument","exit":2,"text":"--out is required"}' "$sluice" get --json
expect 2 '"error":"invalid_argument"' "$sluice" --json no-such-command
expect 0 "Exit codes:" "$sluice" --json --help
expect 2 "kv-type" "$sluice" lookup --kv-type q4_0
expect 2 "leave one out" "$sluice" rm --descriptor x --model y
expect 2 "need their space" "$sluice" rm 00
expect 0 "Exit codes:" "$sluice" --help
expect 2 "--model and --tokens" "$sluice" lookup
expect 2 "or --descriptor; inspect and verify also take page files" "$sluice" verify
expect 2 "'xyz' is no page key" "$sluice" put --model m --tokens t --anchor xyz "$run"
[ "$(stat -c %a "$socket")" = 660 ] || fail "socket mode is $(stat -c %a "$socket"), expected 660"
expect 1 "another daemon" "$sluiced" --socket "$socket" --ram 64MiB

# Page files: a whole one, one with a flipped byte, one that is none.
cp "$(dirname "$0")"/../golden/codec/*.page "$run" 2>/dev/null || fail "no golden pages"
page=$(ls "$run"/*.page | head -1)
expect 0 "1 pages whole, 0 damaged" "$sluice" verify "$page"
expect 0 '"encoding"' "$sluice" --json inspect "$page"
size=$(stat -c %s "$page")
printf '\xff' | dd of="$page" bs=1 seek=$((size - 1)) conv=notrunc status=none
if cmp -s "$page" "$(dirname "$0")/../golden/codec/$(basename "$page")"; then
  printf '\x00' | dd of="$page" bs=1 seek=$((size - 1)) conv=notrunc status=none
fi
expect 1 "1 damaged" "$sluice" verify "$page"
echo none >"$run/none.page"
expect 1 "page header" "$sluice" inspect "$run/none.page"
expect 1 '[{"error":' "$sluice" --json inspect "$run/none.page"

# One bad name in a folder ends nothing; what could not be read weighs most.
mkdir -p "$run/mixed/folder.page"
cp "$(dirname "$0")"/../golden/codec/example.page "$run/mixed/b.page"
cp "$run/none.page" "$run/mixed/a.page"
mkfifo "$run/mixed/pipe.page"
ln -s "$run/nowhere" "$run/mixed/loose.page"
expect 4 "1 pages whole, 1 damaged, 3 unreadable" timeout 20 "$sluice" verify "$run/mixed"
expect 4 "loose.page: cannot be read: No such file" "$sluice" verify "$run/mixed" "$run/absent"
expect 4 "  key " "$sluice" inspect "$run/mixed"
expect 4 "1 pages, 4 with an error" "$sluice" inspect "$run/mixed"
[ "$(grep -c "a.page" "$run/out")" = 1 ] || fail "a path stands twice: $(cat "$run/out")"
expect 1 "1 pages, 1 with an error" "$sluice" inspect "$run/mixed/a.page" "$run/mixed/b.page"

# What is no file, and a name that is no UTF-8, are answers like any other.
expect 1 "2 damaged" "$sluice" verify "$run"
mkdir "$run/empty"
expect 1 "without any *.page" "$sluice" verify "$run/empty"
expect 4 "No such file" "$sluice" verify "$run/absent"
expect 4 "No space left" bash -c '"$1" ping >/dev/full' _ "$sluice"
odd=$run/$(printf 'bad\xff.page')
echo none >"$odd"
expect 1 '"damaged"' "$sluice" --json verify "$odd"
expect 2 "--save writes" "$sluice" inspect "$run/none.page" --save "$run"

# Garbage closes its connection with one log line and leaves the daemon as it was.
for garbage in "GET / HTTP/1.1" "$(head -c 65 /dev/zero | tr '\0' x)"; do
  python3 - "$socket" "$garbage" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode().ljust(64))
try:
    while s.recv(4096):
        pass
except ConnectionResetError:  # closed with bytes of ours unread
    pass
PY
done
[ "$(grep -c 'event=closed' "$run/daemon.log")" = 2 ] || fail "expected one log line a connection"
expect 0 "sluiced " "$sluice" ping

# SIGTERM drains and takes the socket file away; SIGKILL leaves it, and a new daemon takes it over.
kill -TERM %%
wait %% || fail "sluiced exited with $? on SIGTERM"
[ ! -e "$socket" ] || fail "the socket file is still there after SIGTERM"
start
kill -KILL %%
wait %% 2>/dev/null || true
[ -e "$socket" ] || fail "expected a stale socket file"
start
kill -TERM %%
wait %% || fail "sluiced exited with $? on SIGTERM"
echo "all commands behave"
