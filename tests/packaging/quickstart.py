"""./tools/quickstart as a user runs it (on the build that is being tested), and its example
consumer: the table is compared with one computed here from the sample's own lines."""

import collections
import contextlib
import glob
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = os.environ["ES_SOURCE_DIR"]
BUILD_DIR = os.environ["ES_BUILD_DIR"]
SAMPLE = os.path.join(SOURCE_DIR, "tests/data/permits.ndjson.gz")
STEP_S = 60


def sample_lines():
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def table_of(lines):
    """What the read model must print, computed without any of the project's code."""
    done, here, waits = collections.Counter(), {}, collections.defaultdict(list)
    for event in map(json.loads, lines):
        done[event["type"]] += 1
        if event["stream"] in here:
            waits[event["type"]].append(event["tick"] - here[event["stream"]][1])
        here[event["stream"]] = (event["type"], event["tick"])
    standing = collections.Counter(step for step, _ in here.values())
    rows = [f"{'step':<52} {'done':>8} {'cases here':>10} {'hours after':>12}"]
    for step, count in sorted(done.items(), key=lambda row: (-row[1], row[0])):
        hours = "-"
        if waits[step]:
            hours = f"{sum(waits[step]) / len(waits[step]) / 3600e3:.1f}"
        rows.append(f"{step:<52} {count:>8} {standing[step]:>10} {hours:>12}")
    rows.append(f"{'all':<52} {sum(done.values()):>8} {len(here):>10}")
    return rows


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.environment = dict(os.environ, TMPDIR=self.directory.name)

    def quickstart(self, *arguments):
        return subprocess.run(
            [os.path.join(SOURCE_DIR, "tools/quickstart"), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=2 * STEP_S,
        )

    def assert_nothing_is_left(self):
        self.assertEqual(os.listdir(self.directory.name), [])
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(path, "rb") as file:
                    self.assertNotIn(self.directory.name.encode(), file.read())

    def test_the_sample_becomes_a_table_whose_numbers_are_right(self):
        done = self.quickstart()
        self.assertEqual(done.returncode, 0, done.stdout)
        for row in table_of(sample_lines()):
            self.assertIn(row, done.stdout.splitlines())
        self.assertIn("applied position 8577", done.stdout)
        self.assert_nothing_is_left()

    def test_a_file_given_as_argument_is_imported_instead(self):
        lines = sample_lines()[:700]
        path = os.path.join(self.directory.name, "own file.ndjson")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        done = self.quickstart(path)
        os.remove(path)
        self.assertEqual(done.returncode, 0, done.stdout)
        for row in table_of(lines):
            self.assertIn(row, done.stdout.splitlines())
        self.assert_nothing_is_left()

    def test_a_malformed_file_ends_it_and_leaves_nothing_running(self):
        path = os.path.join(self.directory.name, "broken.ndjson")
        with open(path, "w", encoding="utf-8") as file:
            file.write(sample_lines()[0] + "\n{broken\n")
        done = self.quickstart(path)
        os.remove(path)
        self.assertEqual(done.returncode, 65, done.stdout)
        self.assertIn("line 2", done.stdout)
        self.assert_nothing_is_left()


class ReadModel(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.state = os.path.join(self.directory.name, "model.state")
        self.environment = dict(os.environ, EVENTSPINE_RUN=os.path.join(self.directory.name, "run"))
        for name in ("data", "run"):
            os.mkdir(os.path.join(self.directory.name, name))
        broker = self.start("esbroker", "--data", os.path.join(self.directory.name, "data"))
        self.assertTrue(broker.stdout.readline().startswith("ready"))

    def start(self, program, *arguments):
        process = subprocess.Popen(
            [os.path.join(BUILD_DIR, "bin", program), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, STEP_S)
        self.addCleanup(process.terminate)
        return process

    def import_lines(self, lines):
        subprocess.run(
            [os.path.join(BUILD_DIR, "bin/esctl"), "import", "-"],
            env=self.environment,
            input="\n".join(lines) + "\n",
            stdout=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=STEP_S,
        )

    def model_until(self, position, state=None):
        """A model that runs to a position: its first line, and its table."""
        state = state or self.state
        model = self.start("permits_model", "--state", state, "--until", str(position))
        output, _ = model.communicate(timeout=STEP_S)
        self.assertEqual(model.returncode, 0)
        rows = [row for row in output.splitlines() if not row.startswith("applied ")]
        return rows[0], rows[1:]

    def test_started_again_it_goes_on_and_counts_each_event_once(self):
        lines = sample_lines()[:4000]
        self.import_lines(lines[:2500])
        self.assertEqual(self.model_until(2500), ("started", table_of(lines[:2500])))
        self.import_lines(lines[2500:])
        self.assertEqual(self.model_until(4000), ("resumed at 2500", table_of(lines)))

    def test_killed_at_any_time_it_ends_with_the_same_table(self):
        lines = sample_lines()[:4000]
        self.import_lines(lines)
        for first_line in ("started", "resumed at ", "resumed at "):
            model = self.start("permits_model", "--state", self.state)
            self.assertTrue(model.stdout.readline().startswith(first_line))
            if first_line == "started":
                self.assertTrue(model.stdout.readline().startswith("applied "))
            model.send_signal(signal.SIGKILL)
            model.wait(STEP_S)
        self.assertEqual(self.model_until(4000)[1], table_of(lines))

    def test_one_started_early_and_one_started_late_end_with_equal_tables(self):
        lines = sample_lines()
        early = self.start("permits_model", "--state", self.state, "--until", str(len(lines)))
        self.assertEqual(early.stdout.readline(), "started\n")
        self.import_lines(lines)
        output, _ = early.communicate(timeout=STEP_S)
        late = self.model_until(len(lines), os.path.join(self.directory.name, "late.state"))
        early_table = [row for row in output.splitlines() if not row.startswith("applied ")]
        self.assertEqual(early_table, late[1])
        self.assertEqual(early_table, table_of(lines))

    def test_a_damaged_state_is_refused_and_not_started_over(self):
        self.import_lines(sample_lines()[:50])
        self.model_until(50)
        with open(self.state, encoding="utf-8") as file:
            whole = file.read()
        for damaged in (whole[: len(whole) // 2], whole.replace("end\n", ""), "", "hello\n"):
            with open(self.state, "w", encoding="utf-8") as file:
                file.write(damaged)
            model = self.start("permits_model", "--state", self.state)
            self.assertEqual(model.wait(STEP_S), 65)
            with open(self.state, encoding="utf-8") as file:
                self.assertEqual(file.read(), damaged)

    def test_told_to_stop_it_saves_what_it_has_and_prints_its_table(self):
        lines = sample_lines()[:300]
        self.import_lines(lines)
        model = self.start("permits_model", "--state", self.state)
        for line in iter(model.stdout.readline, "applied 300\n"):
            self.assertTrue(re.match("started|applied ", line))
        model.terminate()
        output, _ = model.communicate(timeout=STEP_S)
        self.assertEqual(model.returncode, 0)
        self.assertEqual(output.splitlines(), table_of(lines))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
