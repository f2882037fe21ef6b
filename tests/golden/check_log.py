"""The headers of the commit log and the anchor, built a second time: by this file alone, with a
bitwise CRC32C, from what docs/formats.md says. The kept files beside it must hold exactly these
bytes; tests/unit/broker/test_log_format.c and test_anchor.c compare the broker's with the same
files.

    check_log.py            compares; says which value differs and where
    check_log.py --write    writes the files: only for a new format, never to make a test pass
"""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def crc32c(data):
    """Castagnoli, reflected, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sealed(fields, size):
    """Fields, zeros up to four bytes before 'size', and the CRC32C of all that."""
    body = fields.ljust(size - 4, b"\0")
    return body + struct.pack("<I", crc32c(body))


def segment_slot(number, first_batch, flushed_batch, revision):
    return sealed(
        struct.pack("<8sII", b"ESLOGSEG", 1, 3)
        + bytes(range(0x10, 0x20))  # store id
        + struct.pack("<QQQ", 0x0102030405060708, 0x1112131415161718, 32 << 20)
        + struct.pack("<QQ", number, first_batch)
        + bytes([0xC3]) * 32  # store hash before the first batch
        + struct.pack("<Q", flushed_batch)
        + bytes([0xD4]) * 32  # store hash at the flushed batch
        + struct.pack("<Q", revision),
        256,
    )


def record_header(body, number, batch, durable_batch):
    fields = struct.pack(
        "<4sIQQQQI",
        b"ESRC",
        len(body),
        0x1112131415161718,
        number,
        batch,
        durable_batch,
        crc32c(body),
    )
    return fields + struct.pack("<I", crc32c(fields))


def anchor_slot(number):
    return sealed(
        struct.pack("<8sII", b"ESANCHOR", 1, 1 if number % 2 == 0 else 2)
        + bytes([0xA1]) * 16  # store id
        + bytes([0xB2]) * 16  # boot id
        + struct.pack("<QQ", 0x1122334455667788, 7)
        + struct.pack("<QQQ", number, number * 2, number * 3)
        + bytes([number % 251]) * 32  # store hash
        + struct.pack("<IIQ", 1 if number % 3 == 0 else 0, 0, number),
        256,
    )


GOLDEN = {
    "segment": [
        ("slot_of_the_first", segment_slot(1, 1, 0, 1)),
        ("slot_of_a_later_one", segment_slot(4097, 1234567890123, 1234567880000, 98765)),
    ],
    "record": [
        ("header_without_body", record_header(b"", 1, 1, 0)),
        ("header_of_123456789", record_header(b"123456789", 4097, 1234567890123, 1234567890122)),
    ],
    "anchor": [
        ("slot_of_state_5", anchor_slot(5)),
        ("slot_of_state_6", anchor_slot(6)),
    ],
}


def render(title, entries):
    lines = [f"# {title}: made and checked by check_log.py, compared with the broker by the C tests."]
    for name, value in entries:
        lines.append(f"{name} {len(value)}")
        text = value.hex()
        lines += ["  " + text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(lines) + "\n"


def first_difference(kept, built):
    for number, (left, right) in enumerate(zip(kept.splitlines(), built.splitlines()), 1):
        if left != right:
            return f"line {number}: kept {left!r}, built {right!r}"
    return "one ends before the other"


def main():
    assert crc32c(b"123456789") == 0xE3069283
    failed = False
    for title, entries in GOLDEN.items():
        path = os.path.join(HERE, title + ".golden")
        built = render(title, entries)
        if "--write" in sys.argv[1:]:
            with open(path, "w", encoding="ascii") as file:
                file.write(built)
            continue
        with open(path, encoding="ascii") as file:
            kept = file.read()
        if kept != built:
            print(f"{title}.golden: {first_difference(kept, built)}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
