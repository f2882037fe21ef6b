"""append, head, streams: answers and conflicts exactly, payloads byte for byte."""

import os
import time
import unittest

import lib_protocol
from lib_esctl import STREAM, Case

EMPTY_HASH = ""


class Append(Case):
    def payload_of(self, sequence):
        """The stored bytes of an event, asked for without any of our C code."""
        requests = lib_protocol.Requests(self.broker.run_dir)
        self.addCleanup(requests.close)
        reply = requests.ask(3, STREAM, sequence, 1, False)
        self.assertEqual(reply[0], 0, reply)
        return lib_protocol.unpack(reply[2][0][0][3])[7]

    def test_the_answer_and_the_hash(self):
        first = self.append(STREAM, "placed", '{"items":3}', "--tick", "7")
        wanted = lib_protocol.event_hash(STREAM, 7, "placed", b"\x81\xa5items\x03", b"")
        self.assertRegex(first.pop("receipt"), r"\A[A-Za-z0-9+/]+=*\Z")
        self.assertEqual(first, {"status": "ok", "stream": STREAM, "sequence": 1, "position": 1,
                                 "hash": wanted.hex()})
        second = self.append(STREAM, "paid", "[]", "--tick", "3")
        self.assertEqual((second["sequence"], second["position"]), (2, 2))
        text = self.esctl("append", STREAM, "sent", "--payload", "1")
        self.assertRegex(text, r"\A%s sequence 3 position 3 hash [0-9a-f]{64}\n\Z" % STREAM)
        self.assertEqual(self.one("head", STREAM)["hash"], text.split()[-1])
        self.assertEqual(self.one("head", STREAM)["sequence"], 3)

    def test_head_of_a_stream_and_of_the_store(self):
        before = self.one("head")
        self.assertEqual(list(before), ["position", "store_hash", "store_id", "epoch"])
        self.assertEqual((before["position"], len(before["store_hash"]), len(before["store_id"])),
                         (0, 64, 32))
        answer = self.append(STREAM, "placed", "1", "--tick", "12")
        self.assertEqual(self.one("head", STREAM), {"stream": STREAM, "sequence": 1,
                                                    "hash": answer["hash"], "tick": 12})
        after = self.one("head")
        self.assertEqual((after["position"], after["store_id"], after["epoch"]),
                         (1, before["store_id"], before["epoch"]))
        self.assertNotEqual(after["store_hash"], before["store_hash"])
        self.assertIn(answer["hash"], self.esctl("head", STREAM))
        self.assertIn(after["store_hash"], self.esctl("head"))
        self.esctl("head", "prod:main:L0:orders:M1", code=1)
        self.assertRegex(self.stderr, r"\Aesctl: .+: .+\n\Z")

    def test_json_becomes_the_messagepack_that_it_says(self):
        payloads = {
            "null": b"\xc0", "-1": b"\xff", "1.0": b"\xcb\x3f\xf0" + bytes(6),
            "18446744073709551615": b"\xcf" + b"\xff" * 8,
            "18446744073709551616": b"\xcb\x43\xf0" + bytes(6),
            '{"z":[true,"\\u0000"],"a":{}}': b"\x82\xa1z\x92\xc3\xa1\x00\xa1a\x80",
        }
        for sequence, (text, stored) in enumerate(payloads.items(), 1):
            self.append(STREAM, "t", text)
            self.assertEqual(self.payload_of(sequence), stored)

    def test_raw_bytes_are_kept_and_no_payload_is_no_byte(self):
        raw = bytes(range(256))
        self.esctl("append", STREAM, "t", "--raw", "--payload-file", "-", stdin=raw)
        self.esctl("append", STREAM, "t", "--raw", "--payload", "{not json")
        self.esctl("append", STREAM, "t")
        self.assertEqual([self.payload_of(n) for n in (1, 2, 3)], [raw, b"{not json", b""])
        path = os.path.join(self.broker.directory.name, "payload")
        with open(path, "wb") as file:
            file.write(b'{"from":"file"}\n')
        self.esctl("append", STREAM, "t", "--payload-file", path)
        self.assertEqual(self.payload_of(4), b"\x81\xa4from\xa4file")

    def test_without_a_tick_it_is_the_time_in_milliseconds(self):
        before = time.time_ns() // 1000000
        self.append()
        self.assertTrue(before <= self.one("head", STREAM)["tick"] <= time.time_ns() // 1000000)

    def test_conflicts_are_answers(self):
        def conflict(*options):
            return self.one("append", STREAM, "t", "--payload", "1", *options, code=1)

        other = "ab" * 32
        for option in (("--expect", "exists"), ("--expect", "5"), ("--expect-hash", other)):
            self.assertEqual(conflict(*option)["actual_sequence"], 0)
            self.assertEqual(conflict(*option)["actual_hash"], EMPTY_HASH)
        self.assertEqual(conflict("--expect", "exists")["expected"], "exists")
        self.assertEqual(conflict("--expect-hash", other)["expected"], other)

        first = self.append(STREAM, "t", "1", "--expect", "none", "--expect-hash", "")
        actual = {"status": "conflict", "stream": STREAM, "actual_sequence": 1,
                  "actual_hash": first["hash"]}
        for option, expected in ((("--expect", "none"), "none"), (("--expect-hash", ""), "none"),
                                 (("--expect", "0"), "none"), (("--expect", "2"), 2),
                                 (("--expect-hash", other), other),
                                 (("--expect", "1", "--expect-hash", other), other),
                                 (("--expect", "3", "--expect-hash", first["hash"]), 3)):
            self.assertEqual(conflict(*option), dict(actual, expected=expected), option)
            self.assertEqual(list(conflict(*option)), ["status", "stream", "expected",
                                                       "actual_sequence", "actual_hash"])
        self.esctl("append", STREAM, "t", "--expect", "none", code=1)
        self.assertRegex(self.stderr, r"\Aesctl: conflict, .+: .+\n\Z")
        self.assertEqual(self.one("head", STREAM)["sequence"], 1)

        self.append(STREAM, "t", "1", "--expect", "1", "--expect-hash", first["hash"].upper())
        self.append(STREAM, "t", "1", "--expect", "exists")
        self.append(STREAM, "t", "1", "--expect", "any")
        self.assertEqual(self.one("head", STREAM)["sequence"], 4)

    def test_what_breaks_a_rule_is_refused_and_nothing_stored(self):
        for kind in ("", "x" * 256, "a\nb"):
            result = self.esctl("append", STREAM, kind, "--payload", "1", code=65)
            self.assertEqual(result, "")
        self.esctl("append", STREAM, "t", "--raw", "--payload-file", "-", stdin=b"x" * (1 << 20),
                   code=65)
        self.assertEqual(self.one("head")["position"], 0)

    def test_streams_are_listed_in_order(self):
        names = ["a:b:L0:c:M%d" % n for n in range(5)] + ["z:b:L0:c:M1"]
        for name in reversed(names):
            self.append(name, "t", "1", "--tick", "5")
        listed = self.json("streams")
        self.assertEqual([item["stream"] for item in listed], names)
        self.assertEqual({item["sequence"] for item in listed}, {1})
        self.assertEqual(listed[-1]["position"], 1)
        self.assertEqual([item["stream"] for item in self.json("streams", "z:")], names[5:])
        self.assertEqual([item["stream"] for item in self.json("streams", "--count", "2", "a")],
                         names[:2])
        self.assertEqual(self.json("streams", "--count", "0"), [])
        self.assertEqual(self.esctl("streams", "nothing"), "")
        self.assertEqual(self.esctl("streams", "z").split(), [names[5], "1"])

    def test_options_stand_before_or_after_the_verb(self):
        run_dir = self.broker.run_dir
        self.append()
        answers = {self.esctl("head", "--json"), self.esctl("--json", "head"),
                   self.esctl("-j", "head", "--run", run_dir),
                   self.esctl("head", "-j", "-r", run_dir, "-t", "5")}
        self.assertEqual(len(answers), 1)


if __name__ == "__main__":
    unittest.main()
