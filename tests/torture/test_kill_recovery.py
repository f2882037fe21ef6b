"""backup, restore and recover are killed at each of their steps. Whatever the step: nothing that was
there before is gone, no broker serves half a store, and the same command again comes to its end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

BUILD = os.environ["ES_BUILD_DIR"]
SOURCE = os.environ["ES_SOURCE_DIR"]
ESCTL = os.path.join(BUILD, "bin", "esctl")
ESBROKER = os.path.join(BUILD, "bin", "esbroker")
KILLER = os.path.join(BUILD, "tests", "torture", "torture_kill_broker.so")
EVENTS = 40
HITS_MAX = 12  # of one probe in one run; there are four files to move


def probes_of(program, prefix):
    said = subprocess.run(["readelf", "-n", program], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    names = sorted(set(re.findall(r"Provider: eventspine\s+Name: ([a-z_]+)", said)))
    return [name for name in names if name.startswith(prefix)]


def killed_at(point):
    return dict(os.environ, LD_PRELOAD=KILLER, ES_KILL_AT=point)


def esctl(*arguments, stdin=b"", env=None):
    return subprocess.run([ESCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False, env=env)


class Broker:
    def __init__(self, data, env=None):
        # On tmpfs, so that a killed broker's shared memory lies in it and goes with it.
        self.directory = tempfile.TemporaryDirectory(prefix="es-", dir="/dev/shm")
        self.run_dir = self.directory.name
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [ESBROKER, "--data", data, "--run", self.run_dir, "--log-segment-bytes", "65536"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.serves = self.process.stdout.readline().startswith(b"ready")

    def esctl(self, *arguments, stdin=b""):
        return esctl("--run", self.run_dir, *arguments, stdin=stdin)

    def position(self):
        return json.loads(self.esctl("--json", "head").stdout)["position"]

    def end(self, number=signal.SIGTERM):
        """Exit code and words."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        words = self.process.communicate(timeout=60)[1].decode()
        self.directory.cleanup()
        return self.process.returncode, words


class Kill(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        self.addCleanup(self.directory.cleanup)
        self.data = self.place("data")
        broker = Broker(self.data)
        lines = b"".join(json.dumps({"stream": "a:b:L0:c:M1", "type": "t", "payload": n}).encode() +
                         b"\n" for n in range(EVENTS))
        self.assertEqual(broker.esctl("import", "-", stdin=lines).returncode, 0)
        self.assertEqual(broker.esctl("backup", self.place("backup")).returncode, 0)
        self.assertEqual(broker.end()[0], 0)

    def place(self, name):
        return os.path.join(self.directory.name, name)

    def check_serves(self, data, position=EVENTS):
        self.assertEqual(esctl("verify", "--data", data).returncode, 0)
        broker = Broker(data)
        self.assertTrue(broker.serves, data)
        self.assertEqual(broker.position(), position)
        self.assertEqual(broker.esctl("append", "a:b:L0:c:M1", "t").returncode, 0)
        self.assertEqual(broker.end()[0], 0)

    def kills(self, names, attempt):
        """attempt(point, prepared) for each hit of each probe; False: the run came to its end."""
        count = 0
        for name in names:
            for nth in range(1, HITS_MAX + 1):
                with self.subTest(point="%s:%d" % (name, nth)):
                    if not attempt("%s:%d" % (name, nth)):
                        self.assertGreater(nth, 1, "%s is never met" % name)
                        break
                    count += 1
        print("killed at %d points" % count, file=sys.stderr)
        self.assertGreaterEqual(count, len(names))

    def test_restore_is_killed_at_each_step(self):
        def attempt(point):
            to = self.place("restored")
            result = esctl("restore", self.place("backup"), "--data", to, env=killed_at(point))
            was_killed = result.returncode == -signal.SIGKILL
            if was_killed:
                self.assertFalse(os.path.exists(to) and "in_place" not in point)
                again = esctl("restore", self.place("backup"), "--data", to)
                self.assertEqual(again.returncode, 0, again)
            else:
                self.assertEqual(result.returncode, 0, result)
            self.assertEqual(sorted(os.listdir(self.directory.name)),
                             ["backup", "data", "restored"])
            self.check_serves(to)
            shutil.rmtree(to)
            return was_killed

        self.kills(probes_of(ESCTL, "restore_"), attempt)
        self.check_serves(self.data)

    def test_recover_is_killed_at_each_step(self):
        os.unlink(os.path.join(self.data, "anchor"))
        pristine = self.place("pristine")
        os.rename(self.data, pristine)

        def attempt(point):
            shutil.copytree(pristine, self.data)
            arguments = ["recover", "--data", self.data, "--accept-loss"]
            result = esctl(*arguments, env=killed_at(point))
            was_killed = result.returncode == -signal.SIGKILL
            if was_killed and not point.startswith("recover_done"):
                broker = Broker(self.data)
                self.assertFalse(broker.serves)
                code, words = broker.end()
                self.assertEqual(code, 65, words)
                self.assertIn("esctl recover", words)
                self.assertEqual(esctl("recover", "--data", self.data).returncode, 65)
            if was_killed:
                again = esctl(*arguments)
                self.assertEqual(again.returncode, 0, again)
            else:
                self.assertEqual(result.returncode, 0, result)
            left = sorted(name for name in os.listdir(self.data) if not name.startswith("damaged-"))
            self.assertEqual(left, ["anchor", "lock", "log", "rocksdb", "rocksdb-logs"])
            self.check_aside(pristine)
            self.check_serves(self.data)
            shutil.rmtree(self.data)
            return was_killed

        self.kills(probes_of(ESCTL, "recover_"), attempt)

    def check_aside(self, pristine):
        """One directory has all the damaged files and the report; others at most a report."""
        whole = [name for name in os.listdir(self.data) if name.startswith("damaged-") and
                 os.path.exists(os.path.join(self.data, name, "rocksdb"))]
        self.assertEqual(len(whole), 1)
        aside = os.path.join(self.data, whole[0])
        self.assertEqual(sorted(os.listdir(aside)),
                         ["log", "report.json", "report.txt", "rocksdb", "rocksdb-logs"])
        for name in ("log", "rocksdb"):
            compared = subprocess.run(["diff", "-r", os.path.join(aside, name),
                                       os.path.join(pristine, name)], check=False)
            self.assertEqual(compared.returncode, 0)

    def test_the_broker_is_killed_at_each_step_of_a_backup(self):
        def attempt(point):
            to = self.place("half")
            broker = Broker(self.data, env=killed_at(point))
            result = broker.esctl("backup", to)
            was_killed = broker.process.poll() is not None or result.returncode != 0
            self.assertEqual(broker.end()[0], -signal.SIGKILL if was_killed else 0)
            if was_killed:
                self.assertNotEqual(result.returncode, 0)
                if point.startswith("backup_named"):
                    self.check_serves(to)
                    shutil.rmtree(to)
                else:
                    self.assertFalse(os.path.exists(to))
                    half = esctl("restore", to + ".partial", "--data", self.place("no"))
                    self.assertNotEqual(half.returncode, 0)
                    self.assertFalse(os.path.exists(self.place("no")))
                    shutil.rmtree(to + ".partial")
                broker = Broker(self.data)
                self.assertTrue(broker.serves)
                again = broker.esctl("backup", to)
                self.assertEqual(again.returncode, 0, again)
                self.assertFalse(os.path.exists(os.path.join(self.data, "backing-up")))
                self.assertEqual(broker.end()[0], 0)
            shutil.rmtree(to)
            return was_killed

        self.kills(probes_of(ESBROKER, "backup_"), attempt)
        self.check_serves(self.data)


if __name__ == "__main__":
    unittest.main()
