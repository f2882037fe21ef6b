"""read and tail: ranges, order, and history joined to what comes live."""

import json
import os
import signal
import subprocess
import unittest

from lib_esctl import ESCTL, STREAM, Case, event_line, ndjson

OTHER = "prod:main:L0:bills:M7"


class ReadTail(Case):
    def fill(self):
        self.esctl("import", "-", stdin=ndjson(
            *[event_line(STREAM if n % 2 else OTHER, payload=n, tick=n) for n in range(1, 11)]))

    def numbers(self, name, *arguments):
        return [item[name] for item in self.json("read", *arguments)]

    def test_a_stream_by_sequence(self):
        self.fill()
        self.assertEqual(self.numbers("sequence", STREAM), [1, 2, 3, 4, 5])
        self.assertEqual(self.numbers("payload", STREAM), [1, 3, 5, 7, 9])
        self.assertEqual(self.numbers("sequence", STREAM, "--from", "3"), [3, 4, 5])
        self.assertEqual(self.numbers("sequence", STREAM, "--from", "2", "--count", "2"), [2, 3])
        self.assertEqual(self.numbers("sequence", STREAM, "--backwards"), [5, 4, 3, 2, 1])
        self.assertEqual(self.numbers("sequence", STREAM, "--backwards", "--from", "2"), [2, 1])
        self.assertEqual(self.numbers("sequence", STREAM, "--count", "0"), [])
        self.assertEqual(self.numbers("sequence", STREAM, "--count", "9"), [1, 2, 3, 4, 5])

    def test_all_by_position(self):
        self.assertEqual(self.numbers("position", "--all"), [])
        self.fill()
        self.assertEqual(self.numbers("position", "--all"), list(range(1, 11)))
        self.assertEqual(self.numbers("position", "--all", "--from", "4", "--count", "3"),
                         [4, 5, 6])
        self.assertEqual(self.numbers("position", "--all", "--from", "11"), [])
        self.assertEqual(self.numbers("position", "--all", "--category", "prod:main:L0:bills"),
                         [2, 4, 6, 8, 10])
        self.assertEqual(self.numbers("position", "--all", "--category", "a:b:L0:nothing"), [])
        self.assertEqual(self.numbers("position", "--all", "--category", "prod:*", "--from", "9"),
                         [9, 10])

    def test_every_field_is_there_and_people_get_columns(self):
        answer = self.append(STREAM, "placed", '{"n":1}', "--tick", "5")
        event = self.json("read", STREAM)[0]
        self.assertEqual({name: event[name] for name in event if name != "time"},
                         {"stream": STREAM, "sequence": 1, "tick": 5, "type": "placed",
                          "payload": {"n": 1}, "previous_hash": "", "hash": answer["hash"],
                          "position": 1})
        self.assertIsInstance(event["time"], int)
        header, line = self.esctl("read", STREAM).splitlines()
        self.assertEqual(header.split(), ["position", "sequence", "time", "tick", "stream", "type",
                                          "hash", "payload"])
        columns = line.split()
        self.assertEqual(columns[:2] + columns[3:], ["1", "1", "5", STREAM, "placed",
                                                     answer["hash"], '{"n":1}'])
        self.assertRegex(columns[2], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")

    def test_what_is_not_there_ends_with_1(self):
        self.append()
        self.esctl("read", "prod:main:L0:orders:M1", code=1)
        self.esctl("read", "prod:main:L0:orders:M1", "--backwards", code=1)
        self.esctl("read", STREAM, "--from", "2", code=1)
        self.esctl("read", STREAM, "--from", "2", "--backwards", code=1)
        self.assertRegex(self.stderr, r"\Aesctl: .+: .+\n\Z")

    def tail(self, *arguments):
        process = subprocess.Popen(
            [ESCTL, "--run", self.broker.run_dir, "--json", "tail", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def next_position(process):
        return json.loads(process.stdout.readline())["position"]

    def test_history_joins_what_comes_without_a_gap_or_a_repeat(self):
        self.fill()
        tail = self.tail("--from", "3", "--count", "308")
        self.assertEqual(self.next_position(tail), 3)
        self.esctl("import", "-", stdin=ndjson(*[event_line(payload=n) for n in range(300)]))
        self.assertEqual([self.next_position(tail) for _ in range(307)], list(range(4, 311)))
        self.assertEqual((tail.wait(timeout=60), tail.stdout.read(), tail.stderr.read()),
                         (0, b"", b""))

    def test_each_event_comes_at_once_and_a_signal_ends_it_with_0(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            start = self.append()["position"]
            tail = self.tail("--from", str(start))
            self.assertEqual(self.next_position(tail), start)
            for n in range(1, 4):
                self.append()
                self.assertEqual(self.next_position(tail), start + n)
            tail.send_signal(number)
            self.assertEqual((tail.wait(timeout=60), tail.stderr.read()), (0, b""))

    def test_a_category_only(self):
        self.fill()
        tail = self.tail("--from", "1", "--count", "6", "--category", "prod:main:L0:bills")
        self.assertEqual([self.next_position(tail) for _ in range(5)], [2, 4, 6, 8, 10])
        self.append()
        self.append(OTHER)
        self.assertEqual(self.next_position(tail), 12)
        self.assertEqual(tail.wait(timeout=60), 0)

    def test_a_broker_that_goes_away_ends_it_with_69(self):
        broker = self.start_broker()
        self.append(broker=broker)
        process = subprocess.Popen(
            [ESCTL, "--run", broker.run_dir, "--timeout", "1", "tail", "--from", "1", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(self.next_position(process), 1)
        broker.process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), 69)
        self.assertRegex(process.stderr.read().decode(), r"(?m)^esctl: .+: .+$")
        process.stdout.close()
        process.stderr.close()

    def test_a_reader_that_has_seen_enough_gets_no_message(self):
        self.fill()
        read_end, write_end = os.pipe()
        os.close(read_end)
        result = subprocess.run([ESCTL, "--run", self.broker.run_dir, "read", "--all"],
                                stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(write_end)
        self.assertEqual((result.returncode, result.stderr), (74, b""))


if __name__ == "__main__":
    unittest.main()
