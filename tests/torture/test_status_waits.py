#!/usr/bin/env python3
"""esctl status while the commit thread cannot answer. In this suite because what holds the flusher at
a probe is preloaded, which a sanitizer does not like."""
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(os.environ["ES_SOURCE_DIR"]) / "tests" / "integration"))
from test_esbroker import BIN, BrokerCase, PATIENCE_S  # noqa: E402

ESBENCH = str(BIN / "esbench")
HOLDER = str(BIN.parent / "tests" / "torture" / "torture_kill_broker.so")


class Waiting(BrokerCase):
    def test_status_is_answered_while_the_log_is_full(self):
        """The flusher is held, so that the log has no room any more: then the commit thread
        answers nobody."""
        broker = self.start("--log-segment-bytes", "65536",
                            environment={"LD_PRELOAD": HOLDER,
                                         "ES_HOLD_AT": "flush_store_flushed:1"})
        load = subprocess.Popen([ESBENCH, "append", "--run", str(self.run_dir), "-n", "100000",
                                 "-u", "0", "-t", str(PATIENCE_S)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        status = {}
        while "commit_thread" not in status:
            self.assertIsNone(load.poll())
            status = self.esctl("status")[0]
        self.assertEqual(status["commit_thread"], "waits")
        self.assertNotIn("lanes", status)
        self.assertGreater(status["head_position"], 0)
        load.kill()
        load.wait()
        broker.kill()


if __name__ == "__main__":
    unittest.main()
