"""How an import ends before its end: by a signal, with the broker gone, at a line without an end."""

import json
import signal
import unittest

from lib_esctl import STREAM, Case, event_line, ndjson


class ImportEnds(Case):
    def begin(self, *lines):
        """An import that has sent these lines, and waits for more on its standard input."""
        return self.begin_import(["--json", "--timeout", "2", "import", "-"], *lines)

    def end(self, process, code, more=b""):
        """The summary, after 'more' on its standard input, read or not."""
        output, errors = process.communicate(input=more, timeout=60)
        self.assertEqual(process.returncode, code, (output, errors))
        self.assertRegex(errors.decode(), r"\Aesctl: .+: .+\n\Z")
        return json.loads(output), errors.decode()

    def test_a_signal_ends_it_with_a_summary(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            start = self.one("head")["position"]
            process = self.begin(*[event_line(payload=n) for n in range(start + 10)])
            process.send_signal(number)
            summary, errors = self.end(process, 75)
            self.assertEqual((summary["status"], summary["events"], summary["last_line"]),
                             ("interrupted", start + 10, start + 10))
            self.assertIn("line %d is the last one committed" % (start + 10), errors)

    def test_with_the_broker_killed_the_first_unknown_line_is_named(self):
        process = self.begin(*[event_line(payload=n) for n in range(20)])
        self.broker.process.kill()
        self.broker.process.wait(timeout=30)
        more = ndjson(*[event_line(payload=n) for n in range(20, 1000)])
        summary, errors = self.end(process, 75, more)
        self.assertEqual((summary["status"], summary["events"], summary["failed_line"]),
                         ("unknown", 20, 21))
        self.assertIn("line 21", errors)

    def test_with_the_broker_stopped_the_rest_is_not_stored(self):
        process = self.begin(*[event_line(payload=n) for n in range(20)])
        self.assertEqual(self.broker.close(), 0)
        more = ndjson(*[event_line(payload=n) for n in range(20, 1000)])
        summary, errors = self.end(process, 75, more)
        self.assertEqual((summary["events"], summary["failed_line"]), (20, 21))
        self.assertIn("line 21", errors)

    def test_a_line_without_an_end_is_malformed(self):
        summary = self.one("import", "-", code=65, stdin=ndjson(event_line(payload=1)) +
                           b'{"stream":"%s","payload":"' % STREAM.encode() + b"x" * (33 << 20))
        self.assertEqual((summary["events"], summary["failed_line"]), (1, 2))

    def test_a_payload_larger_than_a_record_is_refused_by_its_line(self):
        lines = [event_line(payload=1), event_line(payload="x" * 600000), event_line(payload=3)]
        summary = self.one("import", "-", code=65, stdin=ndjson(*lines))
        self.assertEqual((summary["status"], summary["events"], summary["failed_line"]),
                         ("refused", 1, 2))
        self.assertEqual(self.one("head")["position"], 1)


if __name__ == "__main__":
    unittest.main()
