"""verify online and offline, and status: sound stores are found sound, damage is named."""

import glob
import os
import shutil
import signal
import tempfile
import unittest

from lib_esctl import STREAM, Case, event_line, ndjson, run
from lib_recover import digests

SUMMARY = r"\Achecked 501 events and \d+ commits in [0-9.]+ seconds, \d+ events/s: no damage\n\Z"


class Verify(Case):
    def fill(self):
        self.esctl("import", "-", stdin=ndjson(
            *[event_line("a:b:L0:c:M%d" % (n % 7), payload={"n": n}) for n in range(500)]))
        self.esctl("kv", "put", "n", "k", "v")
        self.append()
        self.esctl("snapshot", "save", STREAM, "--tick", "1", "--sequence", "1", "--file", "-",
                   stdin=b"state")

    def data(self):
        return os.path.join(self.broker.directory.name, "data")

    def copy_of_data(self):
        directory = tempfile.TemporaryDirectory(prefix="es-")
        self.addCleanup(directory.cleanup)
        kept = os.path.join(directory.name, "data")
        shutil.copytree(self.data(), kept)
        return kept

    def stop(self, number, code):
        self.broker.process.send_signal(number)
        self.assertEqual(self.broker.process.wait(timeout=30), code)

    def offline(self, directory, code, *options):
        result = run("verify", "--data", directory, *options)
        self.assertEqual(result.returncode, code, result)
        if code != 0:
            self.assertRegex(result.stderr.decode(), r"(?m)^esctl: .+: .+$")
        return result.stdout.decode()

    def test_a_sound_store_online(self):
        self.fill()
        summary = self.one("verify")
        self.assertEqual((summary["status"], summary["events"]), ("ok", 501))
        self.assertEqual(summary["findings"], 0)
        self.assertGreater(summary["commits"], 0)
        self.assertGreater(summary["events_per_second"], 0)
        self.assertRegex(self.esctl("verify"), SUMMARY)

    def test_an_empty_store(self):
        self.assertEqual(self.one("verify")["events"], 0)
        self.stop(signal.SIGTERM, 0)
        self.assertIn("checked 0 events", self.offline(self.data(), 0))

    def test_a_sound_store_offline_and_not_a_byte_is_changed(self):
        self.fill()
        self.offline(self.data(), 75)  # the broker has it
        self.stop(signal.SIGTERM, 0)
        before = digests(self.data())
        self.assertRegex(self.offline(self.data(), 0), SUMMARY)
        self.assertEqual(digests(self.data()), before)

    def test_what_only_the_log_holds_after_a_kill_is_verified_too(self):
        self.fill()
        self.stop(signal.SIGKILL, -signal.SIGKILL)
        before = digests(self.data())
        self.assertRegex(self.offline(self.data(), 0), SUMMARY)
        self.assertEqual(digests(self.data()), before)

    def test_damage_is_named_and_ends_with_65(self):
        self.fill()
        self.stop(signal.SIGTERM, 0)

        without_anchor = self.copy_of_data()
        os.unlink(os.path.join(without_anchor, "anchor"))
        self.assertRegex(self.offline(without_anchor, 65), r"\Ahistory: the anchor ")

        without_log = self.copy_of_data()
        shutil.rmtree(os.path.join(without_log, "log"))
        self.offline(without_log, 65)

        flipped = self.copy_of_data()
        tables = glob.glob(os.path.join(flipped, "rocksdb", "*.sst"))
        self.assertNotEqual(tables, [])
        for table in tables:
            with open(table, "r+b") as file:
                file.seek(os.path.getsize(table) // 3)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1]))
        self.offline(flipped, 65)
        self.offline(flipped, 65, "--json")


class Status(Case):
    @staticmethod
    def lasting(names):
        """Without the lanes, which come and go with their producers."""
        return [name for name in names if not name.startswith("lanes.")]

    def test_settings_and_counters(self):
        before = self.one("status")
        self.append()
        after = self.one("status")
        self.assertEqual(after["events"], before["events"] + 1)
        self.assertEqual(after["durability"], "os")
        self.assertEqual(self.lasting(before), self.lasting(after))
        lines = self.esctl("status").splitlines()
        self.assertEqual(self.lasting(line.split()[0] for line in lines), self.lasting(after))


if __name__ == "__main__":
    unittest.main()
