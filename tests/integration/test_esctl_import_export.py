"""import and export: what is written comes back byte for byte, a bad line ends it where it says."""

import base64
import gzip
import json
import os
import subprocess
import unittest

import lib_protocol
from lib_esctl import ESCTL, STREAM, Case, event_line, ndjson

SAMPLE = os.path.join(os.environ["ES_SOURCE_DIR"], "tests", "data", "permits.ndjson.gz")


class ImportExport(Case):
    def heads(self, broker=None):
        return [(item["stream"], item["sequence"], item["hash"], item["tick"])
                for item in self.json("streams", broker=broker)]

    def test_a_second_store_gets_equal_heads_from_an_export(self):
        with gzip.open(SAMPLE) as file:
            sample = file.read()
        summary = self.one("import", "-", stdin=sample)
        self.assertEqual((summary["status"], summary["events"], summary["streams"]),
                         ("ok", 8577, 1434))
        self.assertEqual((summary["last_line"], summary["last_position"], summary["keys"]),
                         (8577, 8577, 0))
        self.assertFalse(summary["own_positions_and_times"])

        first = self.esctl("export")
        lines = [json.loads(line) for line in first.splitlines()]
        self.assertEqual([line["position"] for line in lines], list(range(1, 8578)))
        self.assertEqual(list(lines[0]), ["stream", "sequence", "tick", "type", "payload",
                                          "previous_hash", "hash", "position", "time"])
        for line, source in zip(lines, map(json.loads, sample.splitlines())):
            self.assertEqual({name: line[name] for name in source}, source)

        other = self.start_broker()
        summary = self.one("import", "-", stdin=first.encode(), broker=other)
        self.assertTrue(summary["own_positions_and_times"])
        self.assertEqual(self.heads(other), self.heads())
        second = [json.loads(line) for line in self.esctl("export", broker=other).splitlines()]
        for line in lines + second:
            del line["time"]
        self.assertEqual(second, lines)

    def test_hashes_are_those_of_an_independent_implementation(self):
        self.esctl("import", "-", stdin=ndjson(
            event_line(payload={"b": 1, "a": [True, None]}, tick=4),
            event_line(kind="paid", payload="")))
        one, two = (json.loads(line) for line in self.esctl("export").splitlines())
        packed = b"\x82\xa1b\x01\xa1a\x92\xc3\xc0"
        first = lib_protocol.event_hash(STREAM, 4, "placed", packed, b"")
        second = lib_protocol.event_hash(STREAM, 0, "paid", b"\xa0", first)
        self.assertEqual((one["hash"], one["previous_hash"]), (first.hex(), ""))
        self.assertEqual((two["hash"], two["previous_hash"]), (second.hex(), first.hex()))
        self.assertEqual((one["tick"], two["tick"]), (4, 0))

    def test_payloads_that_are_no_json_travel_as_base64(self):
        raws = [b"", b"\xc4\x01x", b"\xca\x3f\x80\0\0", b"\xcc\x05", b"plain text", b"\x81\x01\x02",
                b"\xcb\x7f\xf8" + bytes(6), bytes(range(256)), b"\x82\xa1x\x01\xa1x\x02"]
        lines = [event_line(payload_base64=base64.b64encode(raw).decode()) for raw in raws]
        for line in lines:
            del line["payload"]
        text = b'{"stream":"%s","type":"t","payload":[18446744073709551615,-9223372036854775808,' \
            b'1.0,-0.0,0.1,5e-324,"\\u0000\\u001b\\u007f\\u009b"]}\n' % STREAM.encode()
        self.esctl("import", "-", stdin=ndjson(*lines) + text)
        exported = self.esctl("export").encode()
        objects = [json.loads(line) for line in exported.splitlines()]
        self.assertEqual([base64.b64decode(item["payload_base64"]) for item in objects[:-1]], raws)
        self.assertIn(b'"payload":[18446744073709551615,-9223372036854775808,1.0,-0.0,0.1,',
                      exported)
        self.assertIn(b'"\\u0000\\u001b\\u007f\\u009b"]', exported)
        other = self.start_broker()
        self.esctl("import", "-", stdin=exported, broker=other)
        self.assertEqual(self.heads(other), self.heads())

    def test_a_malformed_line_ends_it_and_what_came_before_is_committed(self):
        good = [event_line(payload=n) for n in range(300)]
        for bad in (b"nonsense", b"{}", b"[]", b'{"stream":1}', b"\xff", b'{"stream":"s"',
                    b'{"stream":"%s","type":"t","payload":1,"surprise":2}' % STREAM.encode(),
                    b'{"stream":"not-a-stream","type":"t","payload":1}'):
            before = self.one("head")["position"]
            after = ndjson(event_line(payload="after"))
            summary = self.one("import", "-", code=65, stdin=ndjson(*good) + bad + b"\n" + after)
            self.assertRegex(self.stderr, r"(?m)^esctl: line 301 .+: everything before it")
            self.assertIn(summary["status"], ("malformed", "refused"))
            self.assertEqual((summary["events"], summary["failed_line"], summary["last_line"]),
                             (300, 301, 300))
            self.assertEqual(self.one("head")["position"], before + 300)
        text = self.esctl("import", "-", code=65, stdin=ndjson(*good[:2]) + b"x")
        self.assertRegex(text, r"\Aimported 2 events of 1 streams in [0-9.]+ seconds, \d+ event")

    def test_a_line_that_must_come_out_otherwise_is_refused_and_all_after_it(self):
        first, second = (lib_protocol.event_hash(STREAM, 0, "placed", b"\x01", b""), None)
        second = lib_protocol.event_hash(STREAM, 0, "placed", b"\x02", first)
        wrong = "ab" * 32
        lines = [event_line(payload=1, sequence=1, previous_hash="", hash=first.hex()),
                 event_line(payload=2, sequence=2, previous_hash=first.hex(), hash=second.hex())]
        self.one("import", "-", stdin=ndjson(*lines))
        after = [event_line("prod:main:L0:orders:M%d" % n, payload=n) for n in range(200)]
        for change in ({"sequence": 2}, {"sequence": 4}, {"sequence": 1}, {"previous_hash": wrong},
                       {"previous_hash": ""}, {"hash": wrong}):
            before = self.one("head")["position"]
            bad = event_line(payload=3, **change)
            summary = self.one("import", "-", code=65, stdin=ndjson(
                event_line("other:main:L0:orders:M1", payload=0), bad, *after))
            self.assertEqual((summary["status"], summary["failed_line"], summary["events"]),
                             ("refused", 2, 1), change)
            self.assertIn("line 2 refused", self.stderr)
            self.assertEqual(self.one("head")["position"], before + 1)
        self.assertEqual(self.one("head", STREAM)["hash"], second.hex())

    def test_the_earliest_of_several_bad_lines_is_named(self):
        lines = [event_line(payload=1, sequence=7)] + [event_line(payload=n) for n in range(50)]
        summary = self.one("import", "-", code=65, stdin=ndjson(*lines) + b"malformed\n")
        self.assertEqual((summary["failed_line"], summary["events"]), (1, 0))

    def test_blank_lines_crlf_and_a_missing_last_newline_are_no_matter(self):
        data = b"\n  \r\n" + ndjson(event_line(payload=1)).replace(b"\n", b"\r\n") + \
            ndjson(event_line(payload=2)).rstrip(b"\n")
        self.assertEqual(self.one("import", "-", stdin=data)["last_line"], 4)
        self.assertEqual(self.one("import", "-", stdin=b"")["events"], 0)

    def test_one_at_a_time_is_the_same(self):
        lines = [event_line("a:b:L0:c:M%d" % (n % 3), payload=n) for n in range(40)]
        self.one("import", "-", "--batch", "1", stdin=ndjson(*lines))
        other = self.start_broker()
        self.one("import", "-", stdin=ndjson(*lines), broker=other)
        self.assertEqual(self.heads(other), self.heads())

    def test_keys_travel_too_unless_they_are_left_out(self):
        self.append()
        self.esctl("kv", "put", "config", "colour", "gr\u00fcn\n")
        self.esctl("kv", "put", "config", "bytes", "--file", "-", stdin=b"\xff\x00")
        self.esctl("kv", "put", "config", "derived", "1", "--derived")
        exported = self.esctl("export")
        keys = [json.loads(line) for line in exported.splitlines()][1:]
        self.assertEqual([(key["namespace"], key["key"]) for key in keys],
                         [("config", "bytes"), ("config", "colour")])
        self.assertEqual((keys[0]["value_base64"], keys[1]["value"]), ("/wA=", "gr\u00fcn\n"))
        other = self.start_broker()
        summary = self.one("import", "-", stdin=exported.encode(), broker=other)
        self.assertEqual((summary["events"], summary["keys"]), (1, 2))
        self.assertEqual(self.one("kv", "get", "config", "colour", broker=other)["value"],
                         "gr\u00fcn\n")
        for option in ("--events-only", "--stream=" + STREAM, "--category=prod:main:L0:orders"):
            self.assertNotIn("namespace", self.esctl("export", option))

    def test_a_part_of_the_store(self):
        lines = [event_line("a:b:L0:c:M1", payload=1), event_line("a:b:L0:d:M1", payload=2),
                 event_line("a:b:L0:c:M2", payload=3), event_line("a:b:L0:c:M1", payload=4)]
        self.esctl("import", "-", stdin=ndjson(*lines))

        def positions(*options):
            lines = self.esctl("export", *options).splitlines()
            return [json.loads(line)["position"] for line in lines]

        self.assertEqual(positions(), [1, 2, 3, 4])
        self.assertEqual(positions("--from", "3"), [3, 4])
        self.assertEqual(positions("--stream", "a:b:L0:c:M1"), [1, 4])
        self.assertEqual(positions("--stream", "a:b:L0:c:M1", "--from", "2"), [4])
        self.assertEqual(positions("--category", "a:b:L0:c"), [1, 3, 4])
        self.assertEqual(positions("--category", "a:b:*"), [1, 2, 3, 4])
        self.assertEqual(positions("--from", "5"), [])
        self.esctl("export", "--stream", "a:b:L0:c:M9", code=1)

    def test_an_output_file_appears_whole_or_not_at_all(self):
        self.append()
        directory = self.broker.directory.name
        path = os.path.join(directory, "export.ndjson")
        self.assertEqual(self.esctl("export", "--output", path), "")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), self.esctl("export"))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666 & ~self.umask())
        self.esctl("export", "--output", os.path.join(directory, "missing", "file"), code=73)
        self.esctl("export", "--stream", "a:b:L0:c:M9", "--output", path + "2", code=1)
        self.assertEqual([name for name in os.listdir(directory) if name.startswith("export")],
                         ["export.ndjson"])
        self.esctl("export", "--output", "/dev/full", code=74)

    @staticmethod
    def umask():
        mask = os.umask(0)
        os.umask(mask)
        return mask

    def test_a_full_standard_output_ends_with_74(self):
        self.append()
        for verb in (["export"], ["read", STREAM], ["--json", "head"], ["streams"], ["status"]):
            with open("/dev/full", "wb") as full:
                self.assertEqual(self.run_to(full, *verb), 74, verb)

    def run_to(self, output, *arguments):
        return subprocess.run([ESCTL, "--run", self.broker.run_dir, *arguments], stdout=output,
                              stderr=subprocess.DEVNULL, timeout=60, check=False).returncode


if __name__ == "__main__":
    unittest.main()
