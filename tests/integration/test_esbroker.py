#!/usr/bin/env python3
"""esbroker as its users meet it: start, ready line, signals, exit codes, what is refused and what
the refusal says, and that a killed broker's successor has everything that was acknowledged."""
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ["ES_BUILD_DIR"]) / "bin"
ESBROKER = str(BIN / "esbroker")
ESCTL = str(BIN / "esctl")
ESBENCH = str(BIN / "esbench")
PATIENCE_S = 60
STREAM = "prod:main:L0:orders:M1"


class BrokerCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="es-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.data = self.root / "data"
        # On a tmpfs, so that the shared memory of a killed broker goes with it.
        self.shared = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir="/dev/shm"))
        self.addCleanup(shutil.rmtree, self.shared, ignore_errors=True)
        self.run_dir = self.shared / "run"

    def command(self, *options, data=None, run_dir=None):
        return [ESBROKER, "--data", str(data or self.data), "--run", str(run_dir or self.run_dir),
                *options]

    def start(self, *options, environment=None, **places):
        broker = subprocess.Popen(self.command(*options, **places), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True,
                                  env=dict(os.environ, **(environment or {})))
        self.addCleanup(self.reap, broker)
        line = broker.stdout.readline()
        self.assertTrue(line.startswith("ready"), line or broker.stderr.read())
        return broker

    def reap(self, broker):
        if broker.poll() is None:
            broker.kill()
        broker.communicate(timeout=PATIENCE_S)

    def stop(self, broker, how=signal.SIGTERM):
        broker.send_signal(how)
        out, err = broker.communicate(timeout=PATIENCE_S)
        self.assertEqual(broker.returncode, 0, err)
        return out, err

    def refused(self, code, says, *options, **places):
        result = subprocess.run(self.command(*options, **places), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"(?m)^esbroker: .+: .+$")
        self.assertIn(says, result.stderr)
        return result.stderr

    def esctl(self, *arguments, code=0, stdin=None):
        result = subprocess.run([ESCTL, "--run", str(self.run_dir), "--json", *arguments],
                                input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def append(self, value, *options, code=0):
        return self.esctl("append", STREAM, "Counted", "--payload", json.dumps(value), *options,
                          code=code)[0]


class Life(BrokerCase):
    def test_help_and_version(self):
        for option, wanted in (("--help", "--durability"), ("--version", "esbroker (Eventspine)")):
            result = subprocess.run([ESBROKER, option], stdout=subprocess.PIPE, text=True,
                                    timeout=PATIENCE_S, check=False)
            self.assertEqual(result.returncode, 0)
            self.assertIn(wanted, result.stdout)

    def test_ready_then_a_clean_end_by_either_signal(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            self.stop(self.start(), how)
            self.assertFalse((self.run_dir / "control.sock").exists())

    def test_a_clean_end_leaves_no_shared_memory(self):
        before = set(os.listdir("/dev/shm"))
        broker = self.start(run_dir=self.root / "on-disk")
        made = [name for name in set(os.listdir("/dev/shm")) - before
                if name.startswith("eventspine-")]
        self.assertNotEqual(made, [])
        self.stop(broker)
        # Other tests come and go meanwhile; those that were there with ours include ours.
        self.assertNotEqual([name for name in made if os.path.exists(f"/dev/shm/{name}")], made)

    def test_a_group_may_enter_a_directory_that_was_there(self):
        self.run_dir.mkdir(mode=0o700)
        with open("/etc/group", encoding="utf-8") as groups:
            mine = {os.getegid(), *os.getgroups()}
            name, gid = next((line.split(":")[0], int(line.split(":")[2])) for line in groups
                             if os.geteuid() == 0 or int(line.split(":")[2]) in mine)
        broker = self.start("--group", name)
        for path, mode in ((self.run_dir, 0o750), (self.run_dir / "control.sock", 0o660),
                           (self.run_dir / "requests.sock", 0o660)):
            self.assertEqual((path.stat().st_gid, path.stat().st_mode & 0o777), (gid, mode), path)
        self.append(1)
        self.stop(broker)

    def test_systemd_is_told(self):
        path = str(self.root / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(path)
            listener.settimeout(PATIENCE_S)
            broker = self.start(environment={"NOTIFY_SOCKET": path})
            self.assertEqual(listener.recv(1024), b"READY=1")
            broker.send_signal(signal.SIGTERM)
            self.assertEqual(listener.recv(1024), b"STOPPING=1")
            broker.communicate(timeout=PATIENCE_S)
            self.assertEqual(broker.returncode, 0)

    def test_what_was_appended_is_there_after_a_clean_end(self):
        broker = self.start()
        for number in range(5):
            self.append(number)
        head = self.esctl("head")[0]
        self.stop(broker)
        self.start()
        self.assertEqual(self.esctl("head")[0], head)
        self.assertEqual([e["payload"] for e in self.esctl("read", STREAM)], list(range(5)))

    def test_memory_store_forgets(self):
        self.stop_after_append("--store", "memory")
        self.start("--store", "memory")
        self.esctl("head", STREAM, code=1)

    def stop_after_append(self, *options):
        broker = self.start(*options)
        self.append(1)
        self.stop(broker)

    def test_all_families_are_there_from_the_first_start(self):
        self.stop(self.start())
        manifest = b"".join(path.read_bytes() for path in (self.data / "rocksdb").glob("MANIFEST*"))
        for family in (b"events", b"stream_meta", b"snapshots", b"kv", b"read_models", b"commits",
                       b"producers", b"consumers"):
            self.assertIn(family, manifest)


class Killed(BrokerCase):
    def test_acknowledged_events_survive_kill_9_again_and_again(self):
        acknowledged = []
        for number in range(12):
            broker = self.start()
            acknowledged.append(self.append(number)["position"])
            self.append(-1, "--expect", "none", code=1)
            broker.kill()
            broker.wait(timeout=PATIENCE_S)
        self.start()
        self.assertEqual(acknowledged, list(range(1, 13)))
        self.assertEqual([e["payload"] for e in self.esctl("read", STREAM)], list(range(12)))
        self.esctl("verify")

    def test_a_log_with_more_streams_than_are_kept_in_memory_is_replayed(self):
        """The head of a stream that came back late had been forgotten by then, and the store
        does not know it: the log would seem to be damaged."""
        sizes = ("--log-segment-bytes", str(64 << 20))
        broker = self.start(*sizes)
        subprocess.run([ESBENCH, "append", "--run", str(self.run_dir), "-n", "150100", "-S", "75000",
                        "-w", "256", "-s", "1", "-u", "0", "-t", str(PATIENCE_S)], check=True,
                       stdout=subprocess.DEVNULL)
        broker.kill()
        broker.wait()
        broker = self.start(*sizes)
        self.assertEqual(self.esctl("status")[0]["head_position"],
                         150100)
        self.stop(broker)

    def test_an_import_goes_on_over_a_kill(self):
        """The producer's memory outlives the broker: it waits, and nothing is lost or repeated."""
        lines = "".join(json.dumps({"stream": STREAM, "type": "Counted", "payload": i,
                                    "tick": i}) + "\n" for i in range(30000))
        path = self.root / "lines.ndjson"
        path.write_text(lines)
        broker = self.start()
        importing = subprocess.Popen([ESCTL, "--run", str(self.run_dir), "--timeout", "60",
                                      "import", str(path)], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        self.addCleanup(importing.stdout.close)
        self.addCleanup(importing.stderr.close)
        self.addCleanup(importing.wait)
        self.addCleanup(importing.kill)
        tail = subprocess.Popen([ESCTL, "--run", str(self.run_dir), "--json", "tail", "--from", "1",
                                 "--count", "500"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.kill)
        tail.wait(timeout=PATIENCE_S)  # by now the import is on its way
        broker.kill()
        broker.wait(timeout=PATIENCE_S)
        self.start()
        out, err = importing.communicate(timeout=PATIENCE_S)
        self.assertEqual(importing.returncode, 0, out + err)
        self.assertEqual(self.esctl("head", STREAM)[0]["sequence"], 30000)
        last = self.esctl("read", STREAM, "--backwards", "--count", "1")[0]
        self.assertEqual(last["payload"], 29999)
        self.esctl("verify")


class Refused(BrokerCase):
    def test_usage(self):
        for arguments in ([], ["--data"], ["--data", "x", "--durability", "none"],
                          ["--data", "x", "--slots", "3"], ["--data", "x", "--lane-bytes", "-1"],
                          ["--data", "x", "--group", "no such group"], ["--data", "x", "more"],
                          ["--data", "x", "--reserve-bytes", "1k"], ["--data", ""]):
            result = subprocess.run([ESBROKER, *arguments], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S,
                                    check=False)
            self.assertEqual(result.returncode, 64, (arguments, result.stderr))
            self.assertIn("esbroker", result.stderr)

    def test_a_second_broker_on_the_data_names_the_holder(self):
        broker = self.start()
        says = self.refused(75, f"process {broker.pid}", run_dir=self.root / "other")
        self.assertIn(str(self.data), says)

    def test_a_second_broker_on_the_run_directory_names_the_holder(self):
        broker = self.start()
        says = self.refused(75, f"process {broker.pid}", data=self.root / "other")
        self.assertIn(str(self.run_dir), says)
        self.append(1)  # and the first one does not notice

    def test_directories(self):
        self.refused(73, "make the data directory", data=self.root / "none" / "data")
        self.refused(73, "make its parent", run_dir=self.root / "none" / "run")
        a_file = self.root / "file"
        a_file.write_text("")
        self.refused(73, str(a_file), data=a_file)
        link = self.root / "link"
        self.data.mkdir(mode=0o700)
        link.symlink_to(self.data)
        self.refused(73, "not a link", data=link)
        fifo = self.root / "fifo"
        os.mkfifo(fifo)
        self.refused(73, str(fifo), run_dir=fifo)

    def test_others_may_write(self):
        for place in ("data", "run_dir"):
            shared = self.root / f"shared-{place}"
            shared.mkdir()
            shared.chmod(0o777)
            self.refused(73, "chmod go-w", **{place: shared})

    def test_wrong_owner(self):
        if os.geteuid() != 0:
            foreign = pathlib.Path("/")  # root's: as foreign as one's own can be
        else:
            foreign = self.root / "foreign"
            foreign.mkdir(mode=0o700)
            os.chown(foreign, 65534, 65534)
        self.refused(73, "belongs to uid", data=foreign)

    def test_descriptors(self):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        limited = self.root / "limited"
        limited.write_text('#!/bin/sh\nulimit -S -n "$1"; shift\nexec "$@"\n', encoding="utf-8")
        broker = subprocess.Popen(["sh", str(limited), "100", *self.command()],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.reap, broker)
        self.assertTrue(broker.stdout.readline().startswith("ready"))
        now = pathlib.Path(f"/proc/{broker.pid}/limits").read_text(encoding="utf-8")
        self.assertRegex(now, rf"Max open files +{most} ")
        self.stop(broker)
        limited.write_text('#!/bin/sh\nulimit -n "$1"; shift\nexec "$@"\n', encoding="utf-8")
        result = subprocess.run(["sh", str(limited), "100", *self.command()],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                timeout=PATIENCE_S, check=False)
        self.assertEqual(result.returncode, 73, result.stderr)
        self.assertIn("only 100 files may be open, 1024 are needed: raise", result.stderr)

    def test_a_path_too_long_for_a_socket(self):
        long_path = self.root / ("x" * 100)
        self.refused(73, "too long for a socket", run_dir=long_path)

    def test_damage_is_65_and_says_what_to_do(self):
        broker = self.start()
        self.append(1)
        self.stop(broker)
        (self.data / "anchor").unlink()
        self.refused(65, "nothing was changed")


class Space(BrokerCase):
    def test_below_the_reserve_appends_are_refused_and_reads_go_on(self):
        broker = self.start()
        self.append(1)
        self.stop(broker)
        self.start("--reserve-bytes", str(2 ** 62))
        self.esctl("append", STREAM, "Counted", "--payload", "2", code=75)
        self.assertEqual([e["payload"] for e in self.esctl("read", STREAM)], [1])
        self.esctl("verify")
        self.esctl("status")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
