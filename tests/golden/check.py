"""Every durable and wire format of shm/codec, built a second time: by this file alone, with a
MessagePack writer of thirty lines and Python's hashlib, from what docs/formats.md and
docs/protocol.md say. The kept files beside it must hold exactly these bytes; the C tests compare
the codec with the same files (tests/unit/shm/test_codec_golden.c). So two implementations that
know nothing of each other agree, or a test fails.

    check.py            compares; says which value differs and where
    check.py --write    writes the files: only for a new format, never to make a test pass
"""

import hashlib
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


# ---------------------------------------------------------------------- MessagePack and BLAKE2b --
def head(short, short_max, widths, number):
    """A header in its shortest form: one byte, or a code and a big-endian number."""
    if short is not None and number <= short_max:
        return bytes([short | number])
    for code, width in widths:
        if number < 1 << (8 * width):
            return bytes([code]) + number.to_bytes(width, "big")
    raise ValueError(number)


def pack(value):
    if value is None:
        return b"\xc0"
    if value is False or value is True:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int) and value >= 0:
        return head(0x00, 0x7F, ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)), value)
    if isinstance(value, int):
        if value >= -32:
            return value.to_bytes(1, "big", signed=True)
        for code, width in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
            if value >= -(1 << (8 * width - 1)):
                return bytes([code]) + value.to_bytes(width, "big", signed=True)
    if isinstance(value, str):
        text = value.encode()
        return head(0xA0, 31, ((0xD9, 1), (0xDA, 2), (0xDB, 4)), len(text)) + text
    if isinstance(value, Raw):
        return value.bytes
    if isinstance(value, bytes):
        return head(None, 0, ((0xC4, 1), (0xC5, 2), (0xC6, 4)), len(value)) + value
    if isinstance(value, list):
        return head(0x90, 15, ((0xDC, 2), (0xDD, 4)), len(value)) + b"".join(map(pack, value))
    raise TypeError(value)


class Raw:
    """MessagePack that is written already."""

    def __init__(self, encoded):
        self.bytes = encoded


def blake(data, size=32):
    return hashlib.blake2b(data, digest_size=size).digest()


def b2sum(data):
    """The same by coreutils: a third implementation."""
    done = subprocess.run(["b2sum", "-l", "256"], input=data, stdout=subprocess.PIPE, check=True)
    return bytes.fromhex(done.stdout.split()[0].decode())


# ------------------------------------------------------------------------------ the same values --
def fill(byte):
    return bytes([byte]) * 32


STORE_ID = bytes(range(16))
ORDERS = "prod:main:L0:orders:M1042"
STOCK = "prod:main:L0:stock:M7"
WIDE = "тест:main:L2147483647:заказы:Mmodel-ü"
TICK_MAX = 2**63 - 1
EPOCH = 0x0123456789ABCDEF
TIME_US = 1700000000000000
PAYLOAD = bytes([0x81, 0xA3]) + b"net" + b"\x01"
WIDE_PAYLOAD = bytes(i % 251 for i in range(300))
WIDE_TYPE = "Заказ оплачен, проверен и отправлен"


def parts(stream):
    variant, branch, level, domain, model = stream.split(":")
    return [variant, branch, int(level[1:]), domain, model[1:]]


def preimage(stream, tick, kind, payload, previous):
    return pack([1] + parts(stream) + [tick, kind, payload, previous])


def event_hash(*event):
    return blake(preimage(*event))


def envelope(stream, *rest):
    return pack(parts(stream) + list(rest) + [event_hash(stream, *rest)])


FIRST = (ORDERS, 7, "Placed", PAYLOAD, b"")
SECOND = (ORDERS, 7, "Paid", b"", event_hash(*FIRST))
WIDEST = (WIDE, TICK_MAX, WIDE_TYPE, WIDE_PAYLOAD, fill(0x5A))
STOCK_FIRST = (STOCK, 300, "Received", WIDE_PAYLOAD, b"")


def envelopes():
    yield "first", envelope(*FIRST)
    yield "second", envelope(*SECOND)
    yield "wide", envelope(*WIDEST)
    yield "stock_first", envelope(*STOCK_FIRST)
    yield "first_preimage", preimage(*FIRST)
    yield "wide_preimage", preimage(*WIDEST)


def u64(number):
    return number.to_bytes(8, "big")


def keys():
    prefix = f"S:{ORDERS}:".encode()
    yield "event", prefix + b"E:" + u64(258)
    yield "event_wide", f"S:{WIDE}:E:".encode() + u64(2**64 - 1)
    yield "head", prefix + b"Head"
    yield "pos", prefix + b"Pos:" + u64(64)
    yield "snapshot", prefix + b"Snap:" + u64(300)
    yield "snapshot_named", prefix + b"Snap:" + u64(300) + u64(2) + b"totals"
    yield "kv", b"K:settings:a:key"
    yield "commit", u64(3) + u64(2)
    yield "producer", b"P:importer"
    yield "producer_commit", b"P:importer:" + u64(17)
    yield "consumer", b"C:tables"
    yield "category", b"Category:prod:main:L0:orders"
    for name in ("Store", "Epochs", "Last", "Revision"):
        yield name.lower(), name.encode()


LAST = [1, 9, 2, [[EPOCH, 70000]], [[(3 << 32) | 1, 17, 4096], [(3 << 32) | 2, 5, 0]]]


def values():
    yield "head", pack([1, 2, event_hash(*SECOND), 7, 1, b"", 2, 0, None])
    yield "head_truncated", pack([1, 900, fill(0x11), TICK_MAX, 400, fill(0x22), 70000, 1, None])
    yield "pos", pack(65536)
    yield "kv", pack([1, 5, blake(b"value"), b"value"])
    unnamed = [1, 300, 2, event_hash(*SECOND), "", 0, TIME_US, blake(b"state"), b"state"]
    yield "snapshot", pack(unnamed)
    yield "snapshot_named", pack(
        [1, 300, 2, event_hash(*SECOND), "totals", 3, TIME_US, blake(WIDE_PAYLOAD), WIDE_PAYLOAD]
    )
    yield "producer", pack([1, (3 << 32) | 1, 17, 1000])
    yield "consumer", pack([1, EPOCH, 3, "host 7, pid 4711", TIME_US])
    yield "category", pack([1, 3])
    yield "revision", pack([1, 5])
    yield "store", pack([1, STORE_ID])
    yield "epochs", pack([[1, 1], [EPOCH, 3]])
    yield "last", pack(LAST)
    yield "last_empty", pack([1, 10, 2, [], []])
    receipt = [1, STORE_ID, EPOCH, ORDERS, 2, 2, event_hash(*SECOND), 1, commit()[-32:]]
    yield "receipt", pack(receipt)


GENESIS = blake(b"eventspine" + STORE_ID)
OPERATIONS = [
    [1, ORDERS, 0, b"", [[7, "Placed", PAYLOAD, None], [7, "Paid", b"", event_hash(*SECOND)]]],
    [1, STOCK, -1, None, [[300, "Received", WIDE_PAYLOAD, None]]],
    [1, STOCK, 70000, fill(0x33), [[0, "x", b"", None]]],
    [2, 0, "settings", "a:key", None, b"value"],
    [2, 1, "settings", "a:key", 4, b""],
    [2, 1, "settings", "ключ", 0, b"value"],
    [3, 0, "settings", "a:key", None],
    [3, 1, "settings", "a:key", 5],
    [4, ORDERS, 300, 2, "", 0, b"state"],
    [4, ORDERS, 300, 2, "totals", 3, WIDE_PAYLOAD],
    [5, ORDERS, None, None],
    [5, ORDERS, "", 300],
    [5, ORDERS, "totals", None],
]


def commit():
    """Two unnamed transactions of one entry, then a named one with keys."""
    hashes = event_hash(*FIRST) + event_hash(*SECOND) + event_hash(*STOCK_FIRST)
    unnamed = [1000, None, 0, None, [[ORDERS, 1, 2, 0]], []]
    content = blake(pack(OPERATIONS), 16)
    kvs = [[1, "settings", "a:key", 5, blake(b"value")], [2, "settings", "old", 6, b""]]
    named = [0, "importer", 17, content, [[STOCK, 1, 1, 0]], kvs]
    record = [1, 1, 1, 3, TIME_US, GENESIS, blake(hashes), [unnamed, named]]
    return pack(record + [blake(pack(record))])


def commit_of_keys():
    kvs = [[1, "settings", "a:key", 7, blake(b"")]]
    record = [1, 2, 4, 0, TIME_US, commit()[-32:], blake(b""), [[1000, None, 0, None, [], kvs]]]
    return pack(record + [blake(pack(record))])


def commits():
    yield "events_and_keys", commit()
    yield "keys_only", commit_of_keys()
    yield "genesis_store_hash", GENESIS
    yield "first_eight", b"\x98" + commit()[1:-34]
    yield "content_hash", blake(pack(OPERATIONS), 16)


def transactions():
    yield "every_operation", pack([1, 17, OPERATIONS])
    yield "smallest", pack([1, 0, [[1, STOCK, None, None, [[0, "x", b"", None]]]]])


LOG_OPERATIONS = [
    [1, 0, "settings", "a:key", 5, blake(b"value"), b"value"],
    [2, 1, "settings", "old", 6],
    [3, ORDERS, 300, 2, event_hash(*SECOND), "totals", 3, TIME_US, blake(b"state"), b"state"],
    [4, ORDERS, 300, 0, ""],
    [5, "tables", EPOCH, 3, "host 7, pid 4711", TIME_US],
    [6, "old-tables"],
    [7, "importer", (3 << 32) | 1, 17, 1000],
    [8, EPOCH, 4],
]


def logs():
    events = [envelope(*FIRST), envelope(*SECOND), envelope(*STOCK_FIRST)]
    yield "every_operation", pack([Raw(commit()), events, LOG_OPERATIONS, LAST])
    yield "refusals_only", pack([None, [], [], [1, 10, 2, [], []]])


def message(topic, body):
    return topic.encode() + b"\0" + pack(body)


def published():
    events = [[1, 1, TIME_US, envelope(*FIRST)], [3, 2, TIME_US, envelope(*SECOND)]]
    yield "events", message("S:prod:main:L0:orders:", [1, EPOCH, 0, 1, 3, events])
    beat = [1, STORE_ID, EPOCH, 3, 70000, 3, fill(0x44)]
    changed = [["prod:main:L0:orders", 3], ["prod:main:L0:stock", 2]]
    yield "heartbeat", message("H:", beat + [changed])
    yield "heartbeat_nil", message("H:", beat + [None])


def requests():
    yield "hello", pack([1, 1, "example"])
    yield "append", pack([1, 2, dict(transactions())["smallest"], 8])
    yield "read_stream", pack([1, 3, ORDERS, 0, 65536, True])
    yield "read_all", pack([1, 4, 1, 100, None])
    yield "read_all_category", pack([1, 4, 70000, 1, "prod:main:L0:orders:"])
    yield "scan", pack([1, 5, b"", "prod:", 1000])
    yield "scan_on", pack([1, 5, dict(keys())["event"], "", 1000])
    yield "head", pack([1, 6, ORDERS])
    yield "store_head", pack([1, 7])
    yield "streams", pack([1, 8, "prod:main:", ORDERS, 10])
    yield "snapshot_save", pack([1, 9, ORDERS, 300, 2, "totals", 3, b"state"])
    yield "snapshot_load", pack([1, 10, ORDERS, 300, ""])
    yield "snapshot_load_newest", pack([1, 10, ORDERS, None, "totals"])
    yield "snapshot_list", pack([1, 11, "", dict(keys())["snapshot_named"], 10])
    yield "snapshot_delete", pack([1, 12, ORDERS, 300, "totals"])
    yield "snapshot_delete_all", pack([1, 12, ORDERS, None, None])
    yield "kv_get", pack([1, 13, 0, "settings", "a:key"])
    yield "kv_list", pack([1, 14, 1, "settings", "", 10])
    yield "status", pack([1, 15])
    yield "verify", pack([1, 16, b"\x01\x02", 1000])
    yield "kv_export", pack([1, 17, b"", 10])
    yield "append_named", pack([1, 2, dict(transactions())["smallest"], 0, "importer"])
    yield "producer", pack([1, 18, "importer", 17])
    yield "producers", pack([1, 19, "importer", 10])
    yield "hello_claims", pack([1, 1, "example", dict(values())["receipt"], [STORE_ID, EPOCH, 2]])
    yield "hello_checkpoint", pack([1, 1, "example", None, [STORE_ID, EPOCH, 70000]])
    yield "hello_receipt", pack([1, 1, "example", dict(values())["receipt"]])
    yield "backup", pack([1, 20, "/backups/monday"])


def replies():
    yield "refusal", pack([1, 2, 3, "there is no such stream"])
    yield "hello", pack([1, 0, 3, STORE_ID, EPOCH, 3, fill(0x44), 0, 524288, 262144, 100])
    yield "store_head", pack([1, 0, 3, fill(0x44), STORE_ID, EPOCH, 2, 3])
    done = [0, 0, 0, 2, 3, event_hash(*SECOND), 1, fill(0x44), 0, 7, TIME_US]
    yield "result", pack([1, 0, 3, done])
    yield "result_conflict", pack([1, 1, 3, [1, 62, 1, 2, 0, b"", 0, b"", 5, 0, 0]])
    event = [3, 2, TIME_US, envelope(*SECOND)]
    yield "events", pack([1, 0, 3, [[1, 1, TIME_US, envelope(*FIRST)], event], True, 3])
    yield "head", pack([1, 0, 3, [ORDERS, 2, event_hash(*SECOND), 7, 3, 1]])
    stream = [ORDERS, 2, event_hash(*SECOND), 7, 3]
    yield "streams", pack([1, 0, 3, [stream] * 17, False])
    snapshot = [ORDERS, 300, 2, event_hash(*SECOND), "totals", 3, TIME_US, 300, False]
    yield "snapshots", pack([1, 0, 3, [snapshot], True, dict(keys())["snapshot_named"]])
    yield "kv", pack([1, 0, 3, [["a:key", 5, b"value"]], True])
    pair = ["settings", "a:key", 5, b"value"]
    yield "kv_export", pack([1, 0, 3, [pair], True, dict(keys())["kv"]])
    yield "scan", pack([1, 0, 3, [[258, envelope(*FIRST)]], True, dict(keys())["event"]])
    finding = [1, ORDERS, 2, 3, "the hash is not that of the event"]
    yield "findings", pack([1, 0, 3, [finding], True])
    owner = [(3 << 32) | 1, 1000, 4711, True]
    receipt = dict(values())["receipt"]
    yield "producer", pack([1, 0, 3, 17, owner, True, receipt, done])
    yield "producer_not_found", pack([1, 0, 3, 17, [(3 << 32) | 1, 0, 0, False], False, None, None])
    yield "producers", pack([1, 0, 3, [["importer", 17, (3 << 32) | 1, 1000]], True])


def attach():
    yield "request", pack([1, "attach", 0x45530001, "example"])
    yield "request_named", pack([1, "attach", 0x45530001, "example", "importer", True])
    yield "reply", pack([1, 0, "", 3, (3 << 32) | 7, 1, 17])
    yield "refusal", pack([1, -15, "all 256 lanes are in use", 0, 0, 0, 0])


FILES = {
    "envelope": envelopes,
    "key": keys,
    "value": values,
    "commit": commits,
    "transaction": transactions,
    "log": logs,
    "published": published,
    "request": requests,
    "reply": replies,
    "attach": attach,
}


# ------------------------------------------------------------------------------- the kept files --
def path_of(name):
    return os.path.join(HERE, name + ".golden")


def render(title, entries):
    lines = [f"# {title}: made and checked by check.py, compared with the codec by the C tests."]
    for name, data in entries:
        lines.append(f"{name} {len(data)}")
        lines += ["  " + data[i : i + 32].hex() for i in range(0, len(data), 32)]
    return "\n".join(lines) + "\n"


def read(name):
    """The entries of a kept file, by name."""
    found = {}
    current = None
    with open(path_of(name), encoding="ascii") as file:
        for line in file:
            if line.startswith("#"):
                continue
            if line.startswith("  "):
                found[current] += bytes.fromhex(line.strip())
            else:
                current = line.split()[0]
                found[current] = b""
    return found


def first_difference(kept, built):
    same = 0
    while same < min(len(kept), len(built)) and kept[same] == built[same]:
        same += 1
    return same


def compare(name, build):
    kept = read(name)
    built = dict(build())
    for entry in sorted(kept.keys() | built.keys()):
        if entry not in kept or entry not in built:
            yield f"{name}.golden: {entry} is only in the {'file' if entry in kept else 'script'}"
        elif kept[entry] != built[entry]:
            offset = first_difference(kept[entry], built[entry])
            yield f"{name}.golden: {entry} differs from byte {offset} on"


def known_values():
    """What formats.md and other programs say, so that the writer above is not its own judge."""
    example = bytes.fromhex(
        "9aa470726f64a46d61696e00a66f7264657273a43130343207a6506c61636564c40681a36e657401c400c420"
        "bcb81fa7795cec33a7fdaf9894d362be19f437b07f8c02513c053de397e39cbe"
    )
    if envelope(*FIRST) != example:
        yield "the first envelope is not the one of docs/formats.md"
    if GENESIS.hex() != "1cea66fce68de4f48577e132a2a2f3427a8af3a3b06fbc87aa5e22e965a0638d":
        yield "the genesis store hash is not the one of docs/formats.md"
    abc = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
    if blake(b"abc").hex() != abc:
        yield "BLAKE2b-256 of abc"
    for event in (FIRST, SECOND, WIDEST):
        if b2sum(preimage(*event)) != event_hash(*event):
            yield f"b2sum -l 256 and hashlib disagree about {event[2]}"
    if b2sum(b"\x98" + commit()[1:-34]) != commit()[-32:]:
        yield "b2sum -l 256 gives another store hash"


def main():
    if sys.argv[1:] == ["--write"]:
        for name, build in FILES.items():
            with open(path_of(name), "w", encoding="ascii") as file:
                file.write(render(name, build()))
        return 0
    wrong = list(known_values())
    for name, build in FILES.items():
        wrong += compare(name, build)
    for line in wrong:
        print(line)
    count = sum(len(read(name)) for name in FILES)
    print(f"{count} values in {len(FILES)} files, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
