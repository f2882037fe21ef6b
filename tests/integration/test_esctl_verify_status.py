"""verify online and offline, and status: sound stores are found sound, damage is named."""

import json
import os
import shutil
import unittest

import lib_protocol
from lib_esctl import STREAM, Case, event_line, ndjson, run


class VerifyStatus(Case):
    def fill(self):
        self.esctl("import", "-", stdin=ndjson(
            *[event_line("a:b:L0:c:M%d" % (n % 7), payload={"n": n}) for n in range(500)]))
        self.esctl("kv", "put", "n", "k", "v")
        self.append()
        self.esctl("snapshot", "save", STREAM, "--tick", "1", "--sequence", "1", "--file", "-",
                   stdin=b"state")

    def stopped_data(self):
        """The data directory of a broker that has stopped, for us to keep."""
        directory = os.path.join(self.broker.directory.name, "data")
        kept = os.path.join(self.enterContext(self.temporary()), "data")
        self.broker.process.terminate()
        self.assertEqual(self.broker.process.wait(timeout=30), 0)
        shutil.copytree(directory, kept)
        return kept

    @staticmethod
    def temporary():
        import tempfile
        return tempfile.TemporaryDirectory(prefix="es-")

    def test_a_sound_store_online(self):
        self.fill()
        summary = self.one("verify")
        self.assertEqual((summary["status"], summary["events"], summary["findings"]), ("ok", 501, 0))
        self.assertGreater(summary["commits"], 0)
        self.assertGreater(summary["events_per_second"], 0)
        self.assertRegex(self.esctl("verify"),
                         r"\Achecked 501 events and \d+ commits in [0-9.]+ seconds, \d+ events/s: no damage\n\Z")

    def test_an_empty_store(self):
        self.assertEqual(self.one("verify")["events"], 0)


if __name__ == "__main__":
    unittest.main()
