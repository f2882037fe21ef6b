#!/usr/bin/env bash
# esbench as other people's scripts use it: each verb gives every figure it promises, in both forms,
# and cleans up; what is wrong is told in one line with the exit code that belongs to it.
set -euo pipefail

esbench=$ES_BUILD_DIR/bin/esbench
work=$(mktemp -d)
broker_pid=
finish() {
    [ -z "$broker_pid" ] || kill "$broker_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/run"

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# figures JSON NAME...: each is there and a number above 0, and percentiles do not fall.
figures() {
    python3 - "$@" <<'PYTHON'
import json, sys
result = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    assert isinstance(result[name], (int, float)) and result[name] > 0, (name, result)
times = [result[n] for n in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us") if n in result]
assert times == sorted(times), result
PYTHON
}
percentiles="p50_us p90_us p99_us p999_us max_us"

# refused CODE PATTERN ARGUMENT...: exits with CODE and one line "esbench: what: the way out".
refused() {
    local code=$1 pattern=$2 status=0
    shift 2
    "$esbench" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    [ "$status" = "$code" ] || fail "esbench $*: $status instead of $code: $(cat "$work/err")"
    grep -qE "^esbench: .*($pattern).*: " "$work/err" || fail "esbench $*: says $(cat "$work/err")"
    [ ! -s "$work/out" ] || fail "esbench $*: prints on stdout in spite of its failure"
}

echo "floor and store give rate and percentiles"
figures "$("$esbench" floor --count 20 --json)" events_per_second $percentiles
json=$("$esbench" store --count 500 --batch 16 --streams 7 --json)
figures "$json" events_per_second $percentiles
"$esbench" store --count 100 --durability os | grep -q '^  rate ' || fail "store for people"

echo "append starts and removes a broker of its own, for each durability"
for durability in fsync os; do
    json=$("$esbench" append --count 200 --producers 2 --in-flight 8 --streams 5 --size 100 \
        --durability $durability --json)
    figures "$json" events_per_second $percentiles
    [ "$(jq -r '"\(.count) \(.producers) \(.in_flight) \(.size) \(.streams) \(.durability)"' \
        <<<"$json")" = "200 2 8 100 5 $durability" ] || fail "settings in $json"
done
[ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"

echo "append and read use the broker they are told, wherever --run and --json stand"
mkfifo "$work/ready"
"$ES_BUILD_DIR/bin/esbroker" --data "$work/data" --run "$work/run" >"$work/ready" 2>"$work/log" &
broker_pid=$!
read -r line <"$work/ready"
[[ $line == ready* ]] || fail "the broker says $line: $(cat "$work/log")"
figures "$("$esbench" --json --run "$work/run" append --count 300 --warmup 0 --in-flight 64)" \
    events_per_second $percentiles
json=$("$esbench" read --run "$work/run" --json)
figures "$json" events_per_second
[ "$(jq .count <<<"$json")" = 300 ] || fail "read: $json"
"$esbench" read --run "$work/run" --count 7 | grep -q '^read: 7 events' || fail "read for people"
kill "$broker_pid"
wait "$broker_pid" || fail "the broker ended with $?"
broker_pid=

echo "the suite prints a row for each work, for people and for programs"
rows=$("$esbench" suite --count 300 --json)
[ "$(jq -s 'map(select(.floor_p50_us > 0 and (.reached | type) == "boolean")) | length' \
    <<<"$rows")" = 11 ] || fail "suite: $rows"
[ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"

echo "what is wrong is told, with its code"
refused 64 "no verb" --json
refused 64 "no verb nonsense" nonsense
refused 64 "one verb" floor store
refused 64 "count 0" floor --count 0
refused 64 "count 1x" floor --count 1x
refused 64 "count -1" floor --count -1
refused 64 "producers 1000" append --producers 1000
refused 64 "durability never" append --durability never
refused 64 "means nothing to floor" floor --producers 2
refused 64 "setting of the broker" append --run "$work/run" --durability os
refused 64 "more --producers" append --count 1 --producers 2
refused 69 "attach to the broker|no broker" append --run "$work/run" --count 1 --timeout 1
refused 69 "reading stopped" read --run "$work/run" --timeout 1
refused 73 "no file" floor --directory "$work/nowhere"
refused 73 "no temporary directory" append --directory "$work/nowhere" --count 1
"$esbench" --version | grep -q '^esbench .*[0-9]' || fail "--version"
"$esbench" --help | grep -q -- --in-flight || fail "--help"
echo "ok"
