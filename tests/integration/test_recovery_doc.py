"""docs/recovery.md tried as written: every command of every section, on a store in the state that the
section is about, with the exit code that the page tells."""

import glob
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest

from lib_esctl import event_line, ndjson

BIN = os.path.join(os.environ["ES_BUILD_DIR"], "bin")
PAGE = os.path.join(os.environ["ES_SOURCE_DIR"], "docs", "recovery.md")
STREAM = "prod:main:L0:orders:M1042"


def sections():
    """Heading: the commands below it, with the exit code that each is to have."""
    found = {}
    heading = None
    in_code = False
    with open(PAGE, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line.startswith("## "):
                heading = line[3:]
            elif line.startswith("```"):
                in_code = line == "```sh"
            elif in_code:
                command, _, comment = line.partition("  #")
                code = re.search(r"exit (\d+)", comment)
                found.setdefault(heading, []).append((command.strip(),
                                                      int(code.group(1)) if code else 0))
    return found


class Page(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        self.addCleanup(self.directory.cleanup)
        self.root = self.directory.name
        self.places = [("/var/lib/eventspine-new", self.place("new")),
                       ("/var/lib/eventspine", self.place("data")),
                       ("/run/eventspine", self.place("run")),
                       ("/var/backups", self.place("backups"))]
        os.mkdir(self.place("backups"), 0o700)
        self.brokers = []
        self.addCleanup(self.stop)

    def place(self, name):
        return os.path.join(self.root, name)

    def words(self, command):
        for written, here in self.places:
            command = re.sub(re.escape(written) + r"(?![-\w])", here, command)
        return shlex.split(command)

    def start(self, *arguments):
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [os.path.join(BIN, "esbroker"), *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.assertTrue(process.stdout.readline().startswith(b"ready"), arguments)
        self.brokers.append(process)

    def stop(self, number=signal.SIGTERM):
        for process in self.brokers:
            process.send_signal(number)
            process.communicate(timeout=60)
        self.brokers = []

    def run_line(self, command, stdin=b""):
        words = self.words(command)
        environment = dict(os.environ, EVENTSPINE_RUN=self.place("run"),
                           PATH=BIN + ":" + os.environ["PATH"])
        return subprocess.run(words, cwd=self.root, env=environment, input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              check=False)

    # ---- the states ----

    def serving(self):
        self.start("--data", self.place("data"), "--run", self.place("run"),
                   "--log-segment-bytes", "65536")
        filled = self.run_line("esctl import -", ndjson(*[
            event_line(STREAM, payload={"n": n, "text": "x" * 50}) for n in range(400)]))
        self.assertEqual(filled.returncode, 0, filled)

    def damaged(self):
        self.serving()
        self.stop(signal.SIGKILL)
        os.unlink(self.place("data/anchor"))

    def with_backup(self):
        self.serving()
        self.assertEqual(self.run_line("esctl backup /var/backups/monday").returncode, 0)
        self.stop()

    def cut_short(self):
        self.damaged()
        os.mkdir(self.place("data/recovered"))

    def with_newer_receipt(self):
        self.with_backup()
        self.assertEqual(self.run_line("esctl restore /var/backups/monday --data "
                                       "/var/lib/eventspine-new").returncode, 0)
        self.start("--data", self.place("data"), "--run", self.place("run"))
        kept = self.run_line("esctl append %s placed --receipt-out last.receipt" % STREAM)
        self.assertEqual(kept.returncode, 0, kept)

    def serving_damaged(self):
        self.serving()
        self.stop()
        table = max(glob.glob(self.place("data/rocksdb/*.sst")), key=os.path.getsize)
        with open(table, "r+b") as file:
            file.seek(500)
            file.write(b"\x55" * 8)
        self.start("--data", self.place("data"), "--run", self.place("run"))

    STATES = {
        "Make backups": serving,
        "The start is refused": damaged,
        "Restore a backup": with_backup,
        "Accept the loss": damaged,
        "A recovery was cut short": cut_short,
        "A plain copy of the data directory": serving,
        "Clients are told regressed or diverged": with_newer_receipt,
        "Damage in a store that serves": serving_damaged,
    }

    def test_each_command_does_what_the_page_says(self):
        found = sections()
        self.assertEqual(set(found), set(self.STATES))
        for heading, commands in found.items():
            with self.subTest(section=heading):
                self.STATES[heading](self)
                for command, code in commands:
                    if command.startswith("esbroker "):
                        self.start(*self.words(command)[1:])
                        continue
                    result = self.run_line(command)
                    self.assertEqual(result.returncode, code, (command, result))
                self.stop()
            for name in os.listdir(self.root):
                if os.path.isdir(self.place(name)):
                    shutil.rmtree(self.place(name))
                else:
                    os.unlink(self.place(name))
            os.mkdir(self.place("backups"), 0o700)


if __name__ == "__main__":
    unittest.main()
