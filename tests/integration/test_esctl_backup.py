"""backup and restore: a running store is copied to a stated position while appends go on; what is
restored continues, and receipts and checkpoints say what it is. And what users do first: a plain copy
of a data directory in use, which is whole or refused, never something else."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import threading
import unittest

import lib_protocol
from lib_esctl import STREAM, Case, event_line, ndjson, run

ESBROKER = os.path.join(os.environ["ES_BUILD_DIR"], "bin", "esbroker")
COPIES = int(os.environ.get("ES_PLAIN_COPIES", "12"))


class Store:
    """A broker on a given data directory."""

    def __init__(self, data):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        self.run_dir = self.directory.name
        self.process = subprocess.Popen([ESBROKER, "--data", data, "--run", self.run_dir],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.serves = self.process.stdout.readline().startswith(b"ready")

    def esctl(self, *arguments, stdin=b""):
        return run("--run", self.run_dir, *arguments, stdin=stdin)

    def one(self, *arguments):
        return json.loads(self.esctl("--json", *arguments).stdout)

    def end(self):
        """Exit code and words."""
        if self.process.poll() is None:
            self.process.terminate()
        words = self.process.communicate(timeout=60)[1].decode()
        self.directory.cleanup()
        return self.process.returncode, words


class Writer(threading.Thread):
    """Appends all the time, over requests, and remembers the receipts."""

    def __init__(self, run_dir):
        super().__init__()
        self.requests = lib_protocol.Requests(run_dir)
        self.positions = []
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            status, result = self.requests.append([lib_protocol.append(
                "a:b:L0:c:M%d" % (number % 5),
                [lib_protocol.event(number, "t", b"\xc4\x40" + bytes(64))] * (1 + number % 12))])
            assert status == 0, result
            self.positions.append(result[4])

    def end(self):
        self.stopping.set()
        self.join()
        self.requests.close()


class Backup(Case):
    def place(self, name):
        if not hasattr(self, "directory"):
            self.directory = tempfile.TemporaryDirectory(prefix="es-")
            self.addCleanup(self.directory.cleanup)
        return os.path.join(self.directory.name, name)

    def serve(self, data):
        store = Store(data)
        self.addCleanup(store.end)
        self.assertTrue(store.serves)
        return store

    def fill(self):
        self.esctl("import", "-", stdin=ndjson(
            *[event_line("a:b:L0:c:M%d" % (n % 7), payload={"n": n}) for n in range(300)]))
        self.esctl("kv", "put", "n", "k", "v")

    def test_a_backup_is_a_store_up_to_its_position(self):
        self.fill()
        self.esctl("append", STREAM, "t", "--receipt-out", self.place("before"))
        said = self.json("backup", self.place("backup"))
        self.assertEqual((said[0]["position"], said[1]["findings"]), (301, 0))
        self.esctl("append", STREAM, "t", "--receipt-out", self.place("after"))
        exported = self.esctl("export").splitlines()
        result = run("--json", "restore", self.place("backup"), "--data", self.place("new"))
        self.assertEqual(result.returncode, 0, result)
        said = json.loads(result.stdout.splitlines()[-1])
        self.assertEqual(said["position"], 301)
        store = self.serve(self.place("new"))
        self.assertEqual(store.one("head")["position"], 301)
        self.assertNotEqual(store.one("head")["epoch"], self.one("head")["epoch"])
        self.assertEqual(store.one("verify", "--receipt", self.place("before"))["status"],
                         "proven")
        for _ in range(2):  # also when the position is taken again, by another event
            late = store.esctl("--json", "verify", "--receipt", self.place("after"))
            self.assertEqual((late.returncode, json.loads(late.stdout)["status"]),
                             (65, "regressed"))
            self.assertEqual(store.esctl("append", STREAM, "other").returncode, 0)
        kept = store.esctl("export").stdout.decode().splitlines()
        events = [line for line in exported if '"stream"' in line][:301]
        self.assertEqual([line for line in kept if '"stream"' in line][:301], events)

    def test_a_bare_copy_of_a_backup_begins_an_epoch_too(self):
        self.fill()
        self.esctl("backup", self.place("backup"))
        epochs = {self.one("head")["epoch"]}
        for name in ("one", "two"):
            shutil.copytree(self.place("backup"), self.place(name))
            store = self.serve(self.place(name))
            epochs.add(store.one("head")["epoch"])
            self.assertFalse(os.path.exists(os.path.join(self.place(name), "backup")))
        self.assertEqual(len(epochs), 3)
        self.assertEqual(run("verify", "--data", self.place("backup")).returncode, 0)

    def test_a_receipt_of_another_store_or_history_diverges(self):
        self.fill()
        self.esctl("backup", self.place("backup"))
        run("restore", self.place("backup"), "--data", self.place("new"))
        store = self.serve(self.place("new"))
        self.assertEqual(store.esctl("append", STREAM, "t", "--receipt-out",
                                     self.place("other")).returncode, 0)
        self.append()
        said = self.one("verify", "--receipt", self.place("other"), code=65)
        self.assertEqual(said["status"], "diverged")
        third = self.start_broker()
        said = self.one("verify", "--receipt", self.place("other"), code=65, broker=third)
        self.assertEqual(said["status"], "diverged")
        self.esctl("verify", "--receipt", __file__, code=65)

    def test_checkpoints_are_judged_by_hello(self):
        self.fill()
        head = self.one("head")
        requests = lib_protocol.Requests(self.broker.run_dir)
        self.addCleanup(requests.close)
        store_id, epoch = bytes.fromhex(head["store_id"]), int(head["epoch"])
        for position, status in ((0, 0), (300, 0), (301, 12)):
            self.assertEqual(requests.ask(1, "t", None, [store_id, epoch, position])[0], status)
        self.assertEqual(requests.ask(1, "t", None, [bytes(16), epoch, 1])[0], 13)
        self.assertEqual(requests.ask(1, "t", None, [store_id, epoch ^ 1, 1])[0], 13)
        self.assertEqual(requests.ask(1, "t", b"none")[0], -1)

    def test_what_is_there_already_is_left_alone(self):
        self.fill()
        os.mkdir(self.place("there"))
        os.symlink(self.place("nowhere"), self.place("link"))
        for name in ("there", "link"):
            self.esctl("backup", self.place(name), code=73)
        self.esctl("backup", self.place("no/such"), code=64)
        open_to_all = self.place("open")
        os.mkdir(open_to_all)
        os.chmod(open_to_all, 0o777)
        self.esctl("backup", os.path.join(open_to_all, "backup"), code=69)
        self.assertEqual(os.listdir(open_to_all), [])
        self.esctl("backup", self.place("backup"))
        for name in ("there", "link", "backup"):
            self.assertEqual(run("restore", self.place("backup"), "--data",
                                 self.place(name)).returncode, 73)
        self.assertEqual(run("restore", self.place("there"), "--data",
                             self.place("new")).returncode, 65)
        self.assertFalse(os.path.exists(self.place("new")))

    def test_a_damaged_backup_is_not_restored(self):
        self.fill()
        self.esctl("backup", self.place("backup"))
        table = max(glob.glob(self.place("backup/rocksdb/*.sst")), key=os.path.getsize)
        copy = table + ".copy"
        shutil.copy(table, copy)  # the file is shared with the store: not to be written into
        os.replace(copy, table)
        with open(table, "r+b") as file:
            file.seek(200)
            file.write(b"\x55" * 16)
        self.assertEqual(run("restore", self.place("backup"), "--data",
                             self.place("new")).returncode, 65)
        self.assertFalse(os.path.exists(self.place("new")))

    def test_backups_and_plain_copies_under_load(self):
        broker = self.start_broker("--log-segment-bytes", "65536", "--durability", "fsync")
        data = os.path.join(broker.directory.name, "data")
        writer = Writer(broker.run_dir)
        writer.start()
        outcomes = {"served": 0, "refused": 0}
        try:
            for number in range(COPIES):
                known = writer.positions[-1] if writer.positions else 0
                self.esctl("backup", self.place("b%d" % number), broker=broker)
                copy = self.place("c%d" % number)
                subprocess.run(["cp", "-a", data, copy], check=False, stderr=subprocess.DEVNULL)
                outcomes[self.look_at_copy(copy, known)] += 1
                shutil.rmtree(copy)
                if number > 0:
                    shutil.rmtree(self.place("b%d" % number))
        finally:
            writer.end()
        self.assertGreater(len(writer.positions), COPIES)
        print("plain copies: %s" % outcomes)
        self.esctl("verify", broker=broker)
        store = self.serve(self.place("b0"))
        self.assertEqual(store.esctl("verify").returncode, 0)

    def look_at_copy(self, copy, known):
        """Refused with a way out, or a whole store that has all that was there before the copy."""
        store = Store(copy)
        if not store.serves:
            code, words = store.end()
            self.assertEqual(code, 65, words)
            self.assertIn("esctl backup", words)
            return "refused"
        try:
            verified = store.esctl("verify")
            self.assertEqual(verified.returncode, 0, verified)
            self.assertGreaterEqual(store.one("head")["position"], known)
        finally:
            self.assertEqual(store.end()[0], 0)
        return "served"


if __name__ == "__main__":
    unittest.main()
