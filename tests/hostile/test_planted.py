#!/usr/bin/env python3
"""What somebody may have planted in the data directory, the run directory or shared memory: links,
pipes, files of another owner or that others may write. Each is refused with a code and a message, or
replaced; the broker neither hangs nor writes through it."""
import os
import pathlib
import shutil
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(SOURCE / "tests" / part) for part in ("integration", "exhaustion")]
from lib_trial import Broker, ctl, make_root, remove_root  # noqa: E402

REFUSALS = (65, 73, 74, 75)
OTHER_UID = 61001


def a_link(path, aside):
    shutil.move(path, aside)
    path.symlink_to(aside)


def a_dangling_link(path, aside):
    shutil.move(path, aside)
    path.symlink_to(aside.parent / "made-by-mistake")


def a_pipe(path, aside):
    shutil.move(path, aside)
    os.mkfifo(path, 0o600)


def writable_by_all(path, aside):
    path.chmod(0o666 if path.is_file() else 0o777)


def of_another_owner(path, aside):
    os.chown(path, OTHER_UID, -1)


def segment_of(root):
    return next((root / "data" / "log").iterdir())


class Planted(unittest.TestCase):
    def setUp(self):
        self.root = make_root()
        self.addCleanup(remove_root, self.root)
        broker = Broker(self.root)
        self.assertTrue(broker.wait_ready(), broker.said())
        self.assertEqual(ctl(broker, ["append", "t:m:L0:x:M1", "A"]).returncode, 0)
        self.assertEqual(broker.stop(), 0)

    def plant(self, place, plant):
        """Plants and starts; the exit code, or 0: it served, and stopped."""
        plant(place, self.root / "aside")
        broker = Broker(self.root)
        served = broker.wait_ready()
        code = broker.stop()
        self.assertFalse((self.root / "made-by-mistake").exists(), "it wrote through a link")
        if not served:
            self.assertIn(code, REFUSALS)
            self.assertNotEqual(broker.said().strip(), "")
        return 0 if served else code

    def refused(self, place, *plants):
        for plant in plants:
            with self.subTest(place=place(self.root).name, plant=plant.__name__):
                if plant is of_another_owner and os.geteuid() != 0:
                    continue
                shutil.copytree(self.root / "data", self.root / "kept", symlinks=True)
                self.assertNotEqual(self.plant(place(self.root), plant), 0)
                shutil.rmtree(self.root / "data")
                (self.root / "kept").rename(self.root / "data")
                for left in (self.root / "aside",):
                    shutil.rmtree(left, ignore_errors=True)
                    left.unlink(missing_ok=True)

    def test_the_anchor_must_be_the_owners_own_file(self):
        self.refused(lambda root: root / "data" / "anchor", a_link, a_dangling_link, a_pipe,
                     writable_by_all, of_another_owner)

    def test_a_segment_of_the_log_must_be_the_owners_own_file(self):
        self.refused(segment_of, a_link, a_dangling_link, a_pipe, writable_by_all, of_another_owner)

    def test_log_and_store_must_be_directories_and_no_links(self):
        self.refused(lambda root: root / "data" / "log", a_link, a_pipe)
        self.refused(lambda root: root / "data" / "rocksdb", a_link, a_pipe)

    def test_the_lock_must_be_a_file_and_no_link(self):
        self.refused(lambda root: root / "data" / "lock", a_link, a_dangling_link, a_pipe,
                     of_another_owner)

    def test_the_files_of_rocksdb_must_be_the_owners_own_files(self):
        for name in ("CURRENT", "MANIFEST-*", "OPTIONS-*", "*.sst"):
            self.refused(lambda root, name=name: next((root / "data" / "rocksdb").glob(name)),
                         a_link, a_pipe, of_another_owner)
        self.refused(lambda root: root / "data" / "rocksdb-logs", a_link, a_pipe)

    def test_a_mark_must_be_a_file_and_no_link(self):
        for name in ("creating", "recovering", "backup"):
            mark = self.root / "data" / name
            for make in (os.mkfifo, lambda path: path.symlink_to(self.root / "made-by-mistake")):
                make(mark)
                self.assertNotEqual(self.plant(mark, lambda path, aside: None), 0)
                mark.unlink()

    def test_a_mark_of_creation_does_not_cost_a_store_that_was_in_use(self):
        mark = self.root / "data" / "creating"
        mark.touch(mode=0o600)
        self.assertEqual(self.plant(mark, lambda path, aside: None), 65)
        mark.unlink()
        broker = Broker(self.root)
        self.assertTrue(broker.wait_ready(), broker.said())
        self.assertIn('"position":1,', ctl(broker, ["--json", "head"]).stdout)
        self.assertEqual(broker.stop(), 0)

    def test_what_is_in_place_of_a_socket_is_refused_and_kept(self):
        for name in ("control.sock", "requests.sock", "events.sock"):
            place = self.root / "run" / name
            place.write_text("precious")
            self.assertNotEqual(self.plant(place, lambda path, aside: None), 0)
            self.assertEqual(place.read_text(), "precious")
            place.unlink()
            place.symlink_to(self.root / "made-by-mistake")
            self.assertNotEqual(self.plant(place, lambda path, aside: None), 0)
            place.unlink()
            os.mkfifo(place)
            self.assertNotEqual(self.plant(place, lambda path, aside: None), 0)
            place.unlink()


if __name__ == "__main__":
    unittest.main()
