#!/usr/bin/env bash
# nngcat, which knows nothing of Eventspine, follows a topic and the heartbeats: what goes out is
# plain nng pub/sub, as docs/protocol.md says.
set -euo pipefail

bin=$ES_BUILD_DIR/bin
command -v nngcat >/dev/null || { echo "nngcat is missing: install nng-utils"; exit 1; }

work=$(mktemp -d)
broker=
followers=()
finish() {
    for pid in "${followers[@]}" $broker; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "$1"
    cat "$work"/*.err >&2 || true
    exit 1
}

mkdir "$work/run"
mkfifo "$work/ready"
"$bin/esbroker" --data "$work/data" --run "$work/run" --store memory >"$work/ready" \
    2>"$work/broker.err" &
broker=$!
read -r line <"$work/ready" || fail "the broker did not start"
[[ $line == ready* ]] || fail "the broker said $line"

ctl() { "$bin/esctl" --run "$work/run" "$@"; }
append() { ctl append "$1" "$2" --payload "$3" >/dev/null; }

# follow NAME TOPIC COUNT: takes COUNT messages of a topic into NAME.out, byte for byte.
follow() {
    timeout 60 nngcat --sub0 --dial "ipc://$work/run/events.sock" --subscribe "$2" --count "$3" \
        --raw >"$work/$1.out" 2>"$work/$1.err" &
    followers+=($!)
}

follow orders "S:prod:main:L0:orders:" 3
follow production "S:prod:" 5
follow heartbeats "H:" 4
until [ "$(ctl --json status | jq .subscribers)" = 3 ]; do
    kill -0 "$broker" || fail "the broker is gone"
done

for i in 1 2 3; do
    append "prod:main:L0:orders:M$i" order-placed "\"order $i\""
    append "test:main:L0:orders:M$i" not-for-us 1
done
for i in 1 2; do
    append prod:main:L0:orders2:M1 other-placed "$i"
done

for pid in "${followers[@]}"; do
    wait "$pid" || fail "nngcat did not get what it waits for"
done
followers=()

# count NAME TEXT: how often the text is in what came.
count() {
    python3 -c 'import sys; print(open(sys.argv[1], "rb").read().count(sys.argv[2].encode()))' \
        "$work/$1.out" "$2"
}

[ "$(count orders order-placed)" = 3 ] || fail "orders: not every event came"
[ "$(count orders other-placed)" = 0 ] || fail "orders: events of another category came"
[ "$(count orders not-for-us)" = 0 ] || fail "orders: events of another variant came"
[ "$(count production order-placed)" = 3 ] || fail "a shorter topic: not every order came"
[ "$(count production other-placed)" = 2 ] || fail "a shorter topic: not every event came"
[ "$(count production not-for-us)" = 0 ] || fail "a shorter topic: too much came"
[ "$(count heartbeats H:)" -ge 4 ] || fail "heartbeats did not come"
