"""Running esctl in tests: a broker of its own for a test case, exit codes and JSON exactly."""

import json
import os
import signal
import subprocess
import unittest

import lib_protocol

ESCTL = os.path.join(os.environ["ES_BUILD_DIR"], "bin", "esctl")
STREAM = "prod:main:L0:orders:M1042"
DEADLINE_S = 60


def run(*arguments, stdin=b"", **options):
    """Runs esctl without a run directory of our choice; stdout and stderr are bytes."""
    return subprocess.run([ESCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False, **options)


def ndjson(*objects):
    return b"".join(json.dumps(item).encode() + b"\n" for item in objects)


def event_line(stream=STREAM, kind="placed", payload=None, **members):
    return dict({"stream": stream, "type": kind, "payload": payload}, **members)


class Case(unittest.TestCase):
    """One broker a test, ended in order and with 0 after it."""

    maxDiff = None

    def setUp(self):
        self.broker = self.start_broker()

    def start_broker(self, *options):
        broker = lib_protocol.Broker(*options)
        self.addCleanup(self.end_broker, broker)
        return broker

    def end_broker(self, broker):
        """It must end in order, unless the test has killed it."""
        self.assertIn(broker.close(), (0, -signal.SIGKILL))

    def esctl(self, *arguments, stdin=b"", code=0, broker=None):
        """Runs it on the broker, checks the exit code, returns stdout as text."""
        run_dir = (broker or self.broker).run_dir
        result = run("--run", run_dir, *arguments, stdin=stdin)
        self.stderr = result.stderr.decode()
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        if code not in (0, 1):
            self.assertRegex(self.stderr, r"(?m)^esctl: .+: .+$")
        return result.stdout.decode()

    def begin_import(self, options, *lines):
        """An import with these options that has stored these lines, and waits for more on its
        standard input."""
        process = subprocess.Popen([ESCTL, "--run", self.broker.run_dir, *options],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        for stream in (process.stderr, process.stdout, process.stdin):
            self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdin.write(ndjson(*lines))
        process.stdin.flush()
        while self.one("head")["position"] < len(lines):
            pass  # each turn is a question to the broker
        return process

    def json(self, *arguments, **options):
        """The objects that --json prints, one a line."""
        lines = self.esctl("--json", *arguments, **options).splitlines()
        return [json.loads(line) for line in lines]

    def one(self, *arguments, **options):
        """The one object that --json prints."""
        objects = self.json(*arguments, **options)
        self.assertEqual(len(objects), 1, objects)
        return objects[0]

    def append(self, stream=STREAM, kind="placed", payload="null", *options, **keywords):
        return self.one("append", stream, kind, "--payload", payload, *options, **keywords)
