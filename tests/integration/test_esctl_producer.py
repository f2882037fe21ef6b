"""Named producers from the shell: append and import once, ask, take over."""

import os
import signal
import subprocess
import unittest

import lib_protocol
from lib_esctl import ESCTL, STREAM, Case, event_line, ndjson

NAME = "payments"


class Append(Case):
    def once(self, number, payload, *options, **keywords):
        return self.append(STREAM, "paid", payload, "--producer", f"{NAME}:{number}", *options,
                           **keywords)

    def refused(self, number, payload, *options):
        self.esctl("append", STREAM, "paid", "--payload", payload, "--producer",
                   f"{NAME}:{number}", *options, code=65)
        return self.stderr

    def test_a_repeat_prints_the_first_receipt_and_stores_nothing(self):
        first = self.once(1, "1")
        self.assertEqual((first["producer"], first["number"], first["stored_before"]),
                         (NAME, 1, False))
        self.once(2, "2")
        again = self.once(1, "1")
        self.assertTrue(again["stored_before"])
        self.assertEqual({**again, "stored_before": False}, first)
        self.assertEqual(self.one("head")["position"], 2)
        self.assertIn("(stored before)", self.esctl(
            "append", STREAM, "paid", "--payload", "1", "--producer", f"{NAME}:1"))
        self.assertNotIn("stored before", self.esctl("append", STREAM, "paid"))

    def test_a_repeat_of_what_expected_something_is_not_judged_again(self):
        first = self.once(1, "1", "--expect", "none")
        self.assertEqual(self.once(1, "1", "--expect", "none")["hash"], first["hash"])

    def test_a_refusal_uses_no_number_up(self):
        self.once(1, "1")
        self.once(2, "2", "--expect", "7", code=1)
        self.assertEqual(self.once(2, "2", "--expect", "1")["sequence"], 2)

    def test_other_content_has_its_own_message(self):
        self.once(1, "1")
        for options in ((), ("--tick", "7"), ("--expect", "exists")):
            self.assertIn("other content", self.refused(1, "2" if not options else "1", *options))
        self.assertEqual(self.one("head")["position"], 1)

    def test_gaps_are_asked_for(self):
        self.once(1, "1")
        self.assertIn("the last number of payments is 1", self.refused(5, "5"))
        self.assertEqual(self.once(5, "5", "--allow-gaps")["sequence"], 2)
        self.assertIn("left out", self.refused(3, "3"))
        self.assertEqual(self.once(6, "6")["sequence"], 3)

    def test_the_command_line_is_checked(self):
        for producer in ("payments", "payments:", "payments:0", "payments:x", ":1", "a:b:1",
                         "$p:1", "payments:18446744073709551616"):
            self.esctl("append", STREAM, "t", "--producer", producer, code=64)
        self.esctl("append", STREAM, "t", "--take-over", code=64)
        self.esctl("append", STREAM, "t", "--allow-gaps", code=64)
        self.esctl("import", "-", "--take-over", code=64)
        self.esctl("import", "-", "--producer", "a:b", code=64)
        self.esctl("producer", "a:b", code=64)
        self.esctl("producer", NAME, "--number", "0", code=64)

    def test_asking_tells_numbers_owner_and_receipts(self):
        first = self.once(1, "1")
        self.append(STREAM, "paid", "2", "--producer", "another:1")
        told = self.one("producer", NAME, "--number", "1")
        self.assertEqual((told["producer"], told["last_number"], told["owner_alive"],
                          told["owner_uid"], told["number"]), (NAME, 1, False, os.getuid(), 1))
        for member in ("stream", "sequence", "position", "hash"):
            self.assertEqual(told["stored"][member], first[member])
        self.assertIn(first["hash"], self.esctl("producer", NAME, "--number", "1"))
        self.assertIn("not attached", self.esctl("producer", NAME))
        self.assertNotIn("stored", self.one("producer", NAME, "--number", "2", code=1))
        self.assertIn("last number is 1", self.stderr)
        self.esctl("producer", "nobody", code=1)
        self.assertEqual([(line["producer"], line["last_number"])
                          for line in self.json("producers")], [("another", 1), (NAME, 1)])
        self.assertEqual(self.esctl("producers").split(), ["another", "1", NAME, "1"])


class Import(Case):
    def lines(self, count):
        events = [event_line(f"prod:main:L0:orders:M{n % 7}", payload=n) for n in range(count)]
        keys = [{"namespace": "prices", "key": f"k{n}", "value": str(n)} for n in range(3)]
        return ndjson(*events[:count // 2], *keys, *events[count // 2:])

    def once(self, lines, *options, code=0):
        return self.one("import", "-", "--producer", NAME, *options, stdin=lines, code=code)

    def test_twice_adds_nothing(self):
        first = self.once(self.lines(100))
        self.assertEqual((first["events"], first["keys"], first["last_number"]), (100, 3, 103))
        again = self.once(self.lines(100))
        self.assertEqual((again["events"], again["keys"], again["stored_before"]), (0, 0, 103))
        self.assertEqual(self.one("head")["position"], 100)
        self.assertEqual({line["revision"] for line in self.json("kv", "list", "prices")},
                         {1, 2, 3})
        self.assertIn("103 lines had been stored before by payments", self.esctl(
            "import", "-", "--producer", NAME, stdin=self.lines(100)))

    def test_it_goes_on_where_it_ended_whatever_is_sent_at_a_time(self):
        lines = self.lines(100).splitlines(keepends=True)
        for count, batch in ((10, "1"), (11, "7"), (60, "1000"), (103, "2")):
            self.once(b"\n \n".join(lines[:count]), "--batch", batch)
            self.assertEqual(self.one("producer", NAME)["last_number"], count)
        told = [line["payload"] for line in self.json("read", "--all")]
        self.assertEqual(told, list(range(100)))

    def test_a_line_that_was_mended_is_gone_on_from(self):
        good = self.lines(20).splitlines(keepends=True)
        bad = [*good[:8], b'{"stream":"no stream","type":"t","payload":1}\n', *good[9:]]
        self.assertEqual(self.once(b"".join(bad), code=65)["failed_line"], 9)
        self.assertEqual(self.once(b"".join(good))["stored_before"], 8)
        self.assertEqual([line["payload"] for line in self.json("read", "--all")],
                         list(range(20)))

    def test_another_file_under_the_name_is_found_out(self):
        lines = self.lines(20).splitlines(keepends=True)
        self.once(b"".join(lines))
        other = [*lines[:-1], ndjson(event_line(payload="other"))]
        self.assertEqual(self.once(b"".join(other), code=65)["failed_line"], 23)
        self.assertIn("another file", self.stderr)
        self.once(b"".join(lines[:-1]), code=65)
        self.assertIn("has stored 23 lines", self.stderr)
        self.assertEqual(self.one("head")["position"], 20)


class Owners(Case):
    def begin(self, *lines):
        """An import that owns the name, has stored these lines and waits for more."""
        return self.begin_import(["import", "-", "--producer", NAME], *lines)

    def test_a_second_owner_is_refused_or_takes_over_and_fences_the_first(self):
        first = self.begin(*[event_line(payload=n) for n in range(5)])
        more = ("append", STREAM, "placed", "--payload", "5", "--producer", f"{NAME}:6")
        self.esctl(*more, code=75)
        self.assertIn(str(first.pid), self.stderr)
        told = self.one("producer", NAME)
        self.assertEqual((told["owner_alive"], told["owner_pid"]), (True, first.pid))
        self.esctl(*more, "--take-over")
        output, errors = first.communicate(ndjson(event_line(payload=99)), timeout=60)
        self.assertEqual(first.returncode, 75, (output, errors))
        self.assertRegex(errors.decode(), r"line 6 .*(owns|taken over)")
        self.assertEqual([line["payload"] for line in self.json("read", "--all")],
                         list(range(6)))

    def test_a_name_whose_owner_was_killed_is_free(self):
        first = self.begin(*[event_line(payload=n) for n in range(5)])
        first.send_signal(signal.SIGSTOP)
        self.esctl("append", STREAM, "t", "--producer", f"{NAME}:6", code=75)
        first.kill()
        first.wait()
        self.assertEqual(self.append(STREAM, "t", "0", "--producer", f"{NAME}:6")["sequence"], 6)


class Restart(unittest.TestCase):
    def test_receipts_are_the_same_after_a_kill(self):
        broker = lib_protocol.Broker()
        self.addCleanup(broker.close)
        command = [ESCTL, "--run", broker.run_dir, "--json", "append", STREAM, "t", "--payload",
                   "1", "--producer", f"{NAME}:1"]
        first = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout
        broker.process.kill()
        broker.process.wait()
        broker.start()
        again = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout
        self.assertEqual(again.replace(b'"stored_before":true', b'"stored_before":false'), first)


if __name__ == "__main__":
    unittest.main()
