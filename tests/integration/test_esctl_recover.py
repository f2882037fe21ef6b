"""recover: what is left of a damaged store is proven, kept and served; the rest is told, and kept
aside. Each kind of damage is done to a copy of one store, which is refused, looked at without a
byte changing, recovered, verified, served and compared with what had been exported before."""

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from lib_esctl import STREAM, event_line, ndjson, run
from lib_recover import (ESBROKER, EVENTS, RecoverCase, digests, flip, newest_segment, only_events,
                         records, segments, tables)


class Recover(RecoverCase):
    def test_a_store_that_starts_needs_no_recovery(self):
        data = self.copy()
        pristine = digests(data)
        report = self.recover(data, "--accept-loss")
        self.assertEqual(report["status"], "whole")
        self.assertEqual(report["kept_position"], len(self.all_events))
        self.assertEqual(digests(data), pristine)

    def test_a_broken_record_in_the_middle_of_the_log(self):
        data = self.copy()
        path = newest_segment(data)
        flip(path, records(path)[0][1] + 60)
        report = self.whole_way(data)
        self.assertLess(report["kept_position"], len(self.all_events))
        self.assertEqual(report["known_position"], len(self.all_events))
        self.assertTrue(report["lost_streams"] == [] or report["lost_positions"] > 0)

    def test_each_segment_deleted(self):
        for index in range(3):
            with self.subTest(segment=index):
                data = self.copy()
                os.unlink(segments(data)[index])
                self.whole_way(data)

    def test_the_whole_log_deleted(self):
        data = self.copy()
        shutil.rmtree(os.path.join(data, "log"))
        report = self.whole_way(data)
        self.assertGreater(report["kept_position"], 0)
        self.assertGreaterEqual(report["known_position"], report["kept_position"])

    def test_a_report_that_cannot_be_written_is_found_before_anything_is_done(self):
        data = self.copy()
        shutil.rmtree(os.path.join(data, "log"))
        pristine = digests(data)
        nowhere = os.path.join(data, "missing", "report")
        words = self.recover(data, "--accept-loss", "--report", nowhere, code=73)
        self.assertIn(nowhere, words)
        self.assertEqual(digests(data), pristine)
        self.assertEqual(os.listdir(os.path.dirname(data)), ["data"])
        path = os.path.join(os.path.dirname(data), "report")
        report = self.recover(data, "--accept-loss", "--report", path)
        with open(path, "rb") as file:
            self.assertEqual(json.loads(file.read()), report)
        self.assertEqual(sorted(os.listdir(os.path.dirname(data))), ["data", "report"])

    def test_a_segment_header_zeroed(self):
        for index in range(3):
            with self.subTest(segment=index):
                data = self.copy()
                with open(segments(data)[index], "r+b") as file:
                    file.write(bytes(4096))
                self.whole_way(data)

    def test_the_anchor_missing_cut_or_damaged(self):
        for damage in ("missing", "cut", "zeroed"):
            with self.subTest(damage=damage):
                data = self.copy()
                path = os.path.join(data, "anchor")
                if damage == "missing":
                    os.unlink(path)
                elif damage == "cut":
                    os.truncate(path, 4096)
                else:
                    with open(path, "r+b") as file:
                        file.write(bytes(8192))
                report = self.whole_way(data)
                self.assertEqual(report["kept_position"], len(self.all_events))

    def test_the_list_of_rocksdbs_files_damaged(self):
        for damage in ("no CURRENT", "no MANIFEST", "cut MANIFEST", "CURRENT names nothing"):
            with self.subTest(damage=damage):
                data = self.copy()
                manifest = glob.glob(os.path.join(data, "rocksdb", "MANIFEST-*"))[0]
                current = os.path.join(data, "rocksdb", "CURRENT")
                if damage == "no CURRENT":
                    os.unlink(current)
                elif damage == "no MANIFEST":
                    os.unlink(manifest)
                elif damage == "cut MANIFEST":
                    os.truncate(manifest, 100)
                else:
                    with open(current, "wb") as file:
                        file.write(b"MANIFEST-999999\n")
                report = self.whole_way(data)
                self.assertEqual(report["kept_position"], len(self.all_events), report)

    def test_what_lost_commits_had_overwritten_is_deleted_by_a_commit(self):
        data = self.copy()
        self.assertEqual(self.start(data)[0], 0)  # and everything is in RocksDB
        # A damaged block of events, and the first of them ends what can be proven.
        path = max(tables(data), key=os.path.getsize)
        flip(path, os.path.getsize(path) // 2)
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen([ESBROKER, "--data", data, "--run", run_dir],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(process.stdout.readline().startswith(b"ready"))
            found = run("--run", run_dir, "verify")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        self.assertEqual(found.returncode, 65, found)
        looked = self.recover(data, code=65)
        self.assertEqual(looked["refusal"], "")
        self.assertRegex(looked["ends_because"], r"the event at position \d+ \(a:b:L0:c:M\d, "
                                                 r"sequence \d+\) is damaged")
        self.assertEqual(looked["known_position"], len(self.all_events))
        report = self.recover(data, "--accept-loss")
        self.assertIn({"namespace": "n", "key": "early"}, report["lost_keys"])
        self.assertEqual(report["lost_keys"], looked["lost_keys"])
        self.assertIn(STREAM, [entry["stream"] for entry in report["lost_streams"]])
        self.check_recovered(data, report)
        self.check_keys_and_producers(data)

    def check_keys_and_producers(self, data):
        """A lost value is not there, and a name goes on behind its last number that is kept."""
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen([ESBROKER, "--data", data, "--run", run_dir],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(process.stdout.readline().startswith(b"ready"))
            try:
                self.assertEqual(run("--run", run_dir, "kv", "get", "n", "early").returncode, 1)
                put = run("--run", run_dir, "kv", "put", "n", "early", "new")
                self.assertEqual(put.returncode, 0, put)
                lines = ndjson(*[event_line("a:b:L0:c:M%d" % (n % 7),
                                            payload={"n": n, "text": "x" * 40})
                                 for n in range(EVENTS // 3)])
                again = run("--run", run_dir, "import", "-", "--producer", "p0", stdin=lines)
                self.assertEqual(again.returncode, 0, again)
                exported = [json.loads(line) for line in only_events(
                    run("--run", run_dir, "export").stdout.splitlines())]
                numbers = [line["payload"]["n"] for line in exported
                           if line["stream"].startswith("a:b:L0:c:M")]
                self.assertEqual(len(numbers), len(set(numbers)))
                self.assertLessEqual(set(range(EVENTS // 3)), set(numbers))
                self.assertEqual(run("--run", run_dir, "verify").returncode, 0)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)

    def test_rocksdb_missing(self):
        data = self.copy()
        shutil.rmtree(os.path.join(data, "rocksdb"))
        # The log alone: if it goes back to the first batch all is there, else nothing is.
        self.assertEqual(self.start(data)[0], 65)
        pristine = digests(data)
        words = self.recover(data, code=65)
        if isinstance(words, str):
            self.assertIn("backup", words)
            self.assertIn("backup", self.recover(data, "--accept-loss", code=65))
            kept = digests(data)
            for path in list(kept):
                if path.endswith("/lock"):
                    del kept[path]
            pristine.pop(os.path.join(data, "lock"), None)
            self.assertEqual(kept, pristine)

    def test_a_log_and_an_anchor_older_than_rocksdb(self):
        """Files of two times, as a plain copy may hold: appends would be given positions that are
        taken. Nothing but RocksDB knows of the newer events."""
        data = self.copy()
        self.assertEqual(self.start(data)[0], 0)
        for name in ("log", "anchor"):
            path = os.path.join(data, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
                shutil.copytree(os.path.join(self.store.earlier, name), path)
            else:
                shutil.copy(os.path.join(self.store.earlier, name), path)
        report = self.whole_way(data)
        self.assertEqual(report["kept_position"], len(self.all_events))


if __name__ == "__main__":
    unittest.main()
