"""Where there is no room, or a run was killed early: backup, restore and recover say so, take
nothing away, and do it when there is room."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

import lib_protocol
from lib_esctl import STREAM, run


class Room(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        self.addCleanup(self.directory.cleanup)
        self.broker = lib_protocol.Broker("--log-segment-bytes", "65536")
        self.addCleanup(self.broker.close)
        self.esctl("append", STREAM, "placed")

    def place(self, name):
        return os.path.join(self.directory.name, name)

    def esctl(self, *arguments, code=0):
        result = run("--run", self.broker.run_dir, *arguments)
        self.assertEqual(result.returncode, code, result)
        return result.stderr.decode()

    def on_a_small_disk(self, kibibytes):
        """False: not without the right to mount."""
        place = self.place("disk")
        os.mkdir(place)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk,mode=700" % kibibytes, "tmpfs",
                           place], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            print("NOT RUN: a small disk needs the right to mount a tmpfs", flush=True)
            return False
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        return True

    def enlarge(self):
        subprocess.run(["mount", "-o", "remount,size=64m", self.place("disk")], check=True)

    def test_recover_says_before_it_begins_that_there_is_no_room(self):
        if not self.on_a_small_disk(2000):
            return
        data = self.place("disk/data")
        self.esctl("backup", self.place("backup"))
        shutil.copytree(self.place("backup"), data)  # a store like any other
        os.unlink(os.path.join(data, "anchor"))
        before = sorted([*os.listdir(data), "lock"])
        result = run("recover", "--data", data, "--accept-loss")
        self.assertEqual(result.returncode, 75, result)
        self.assertIn(b"not enough room", result.stderr)
        self.assertEqual(sorted(os.listdir(data)), before)
        self.enlarge()
        self.assertEqual(run("recover", "--data", data, "--accept-loss").returncode, 0)
        self.assertEqual(run("verify", "--data", data).returncode, 0)

    def test_restore_says_before_it_begins_that_there_is_no_room(self):
        if not self.on_a_small_disk(2000):
            return
        self.esctl("backup", self.place("backup"))
        result = run("restore", self.place("backup"), "--data", self.place("disk/data"))
        self.assertEqual(result.returncode, 73, result)
        self.assertIn(b"not enough room", result.stderr)
        self.assertEqual(os.listdir(self.place("disk")), [])
        self.enlarge()
        result = run("restore", self.place("backup"), "--data", self.place("disk/data"))
        self.assertEqual(result.returncode, 0, result)

    def test_a_backup_does_not_take_the_reserve_of_the_stores_disk(self):
        free = os.statvfs(self.directory.name)
        greedy = lib_protocol.Broker("--reserve-bytes", str(free.f_blocks * free.f_frsize))
        self.addCleanup(greedy.close)
        result = run("--run", greedy.run_dir, "backup",
                     os.path.join(greedy.directory.name, "backup"))
        self.assertEqual(result.returncode, 73, result)
        self.assertIn(b"not enough room", result.stderr)
        self.assertNotIn("backup.partial", os.listdir(greedy.directory.name))

    def test_whatever_a_killed_restore_has_left_it_is_run_again(self):
        """Its directory, without a mark yet."""
        self.esctl("backup", self.place("backup"))
        data = self.place("data")
        os.mkdir(data + ".restoring", 0o700)
        result = run("--json", "restore", self.place("backup"), "--data", data)
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(json.loads(result.stdout.splitlines()[-1])["position"], 1)

    def test_a_removal_that_is_cut_short_leaves_the_mark_to_the_last(self):
        self.esctl("backup", self.place("backup"))
        left = self.place("data.restoring")
        shutil.copytree(self.place("backup"), left)
        with open(os.path.join(left, "restoring"), "wb"):
            pass
        os.makedirs(os.path.join(left, *"abcdefgh"))  # deeper than anything of ours
        for _ in range(2):
            result = run("restore", self.place("backup"), "--data", self.place("data"))
            self.assertIn(b"cannot remove", result.stderr)
            self.assertIn("restoring", os.listdir(left))
        shutil.rmtree(os.path.join(left, "a"))
        result = run("restore", self.place("backup"), "--data", self.place("data"))
        self.assertEqual(result.returncode, 0, result)


if __name__ == "__main__":
    unittest.main()
