"""One round of the torture: a store, a broker that is killed and started again, clients that write
books, and at the end the checker over all of it."""
import collections
import os
import pathlib
import random
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("ES_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("ES_BUILD_DIR", SOURCE / "build"))
HERE = BUILD / "tests" / "torture"
PATIENCE_S = 120
SEGMENT_BYTES = 256 * 1024
ENTRY = struct.Struct("=IIQQQQQ8siI")  # book.h
BROKER_DIED, BROKER_READY = 9, 10
RATE = 1500  # transactions a second of a client that appends through the ring
ASK_RATE = 600
HERD_FIRST = 64
TAKER_FIRST = 16  # plan.h


def block_the_end():
    """For preexec_fn: ending.h."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


class Broken(Exception):
    """A promise is, or a part of the torture does not work."""


class Round:
    """'broker': the program, where it is not the one that was built."""

    def __init__(self, seed, probes, broker=None, herd_per_second=40, herd_count=1 << 40):
        self.random = random.Random(seed)
        self.seed = seed
        self.probes = probes  # the producers'
        self.herd_per_second = herd_per_second
        self.herd_count = herd_count
        disk = self.random.random() < 0.3  # else memory: what a killed process leaves is the same
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir=None if disk else "/dev/shm"))
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir="/dev/shm"))
        self.books = self.root / "books"
        self.books.mkdir()
        self.errors = open(self.root / "errors", "w+", encoding="utf-8")
        self.driver_book = open(self.books / "driver.book", "wb", buffering=0)
        durability = self.random.choice(("fsync", "fsync", "os"))
        self.command = [str(broker or BUILD / "bin" / "esbroker"), "--data",
                        str(self.root / "data"), "--run", str(self.run), "--slots",
                        str(self.random.choice((64, 256, 65536))), "--lane-bytes", "65536",
                        "--log-segment-bytes", str(SEGMENT_BYTES), "--reserve-bytes", "0",
                        "--log-level", "error", "--durability", durability]
        self.broker = None
        self.clients = {}  # name: (process, command)
        self.followers = []
        self.herd = None
        self.taker = TAKER_FIRST
        self.is_stopped = False
        self.counts = collections.Counter()
        self.begun = time.monotonic()

    # ---- broker --------------------------------------------------------------

    def start_broker(self, kill_at=None):
        environment = dict(os.environ)
        if kill_at is not None:
            environment["LD_PRELOAD"] = str(HERE / "torture_kill_broker.so")
            environment["ES_KILL_AT"] = f"{kill_at[0]}:{kill_at[1]}"
        self.broker = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors,
                                       env=environment)
        self.counts["starts"] += 1

    def note(self, kind):
        self.driver_book.write(ENTRY.pack(kind, 0, 0, time.monotonic_ns(), 0, 0, 0, b"", 0, 0))

    def wait_ready(self, seconds=PATIENCE_S):
        """False: it has ended before. An end by itself is looked at by reap()."""
        readable, _, _ = select.select([self.broker.stdout], [], [], seconds)
        if not readable:
            raise Broken(f"no broker within {seconds} s")
        is_ready = self.broker.stdout.readline().startswith(b"ready")
        if is_ready:
            self.note(BROKER_READY)
        else:
            self.broker.wait(PATIENCE_S)
        return is_ready

    def start_and_wait(self):
        self.start_broker()
        if not self.wait_ready():
            raise Broken(f"the broker did not start: code {self.broker.wait(PATIENCE_S)}")

    def ends_within(self, seconds):
        try:
            self.broker.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def reap(self, how=None, may_stop=False):
        """Ends it by that signal, or finds it ended, by SIGKILL if not 'may_stop'. Returns its code."""
        if how is not None:
            self.note(BROKER_DIED)
            self.broker.send_signal(how)
        code = self.broker.wait(PATIENCE_S)
        if how is None:
            self.note(BROKER_DIED)
        self.broker.stdout.close()
        if code != -signal.SIGKILL and not (may_stop and code in (0, -signal.SIGTERM)):
            raise Broken(f"the broker ended by itself with {code}")
        self.broker = None
        return code

    # ---- clients -------------------------------------------------------------

    def open_client(self, command, **options):
        return subprocess.Popen(command, stderr=self.errors, preexec_fn=block_the_end, **options)

    def start_client(self, name, program, number, *more):
        seed = self.random.getrandbits(40)
        command = [str(HERE / f"torture_{program}"), str(self.run),
                   str(self.books / f"{program}-{number}.book"), str(number)]
        if program == "follower":
            command += [str(more[0]), str(seed)]
        else:
            command += [str(seed)] + [str(one) for one in more]
        self.clients[name] = (self.open_client(command), command)

    def start_clients(self):
        """4 through the ring, 2 of them named and one of these taken over now and then; 2 that ask;
        3 that follow, of which two span categories."""
        self.start_client("free0", "appender", 0, RATE)
        self.start_client("free1", "appender", 1, RATE)
        self.start_client("named", "appender", 2, RATE, "counted")
        self.start_client("taker", "appender", self.taker, RATE, "taken")
        self.start_client("asks0", "asker", 3, ASK_RATE)
        self.start_client("asks1", "asker", 4, ASK_RATE)
        for number in range(3):
            self.start_client(f"follower{number}", "follower", number, number)
        self.start_herd()

    def start_herd(self):
        command = [str(HERE / "torture_herd"), str(self.run), str(self.books), str(HERD_FIRST),
                   str(self.random.getrandbits(40)), str(self.herd_count),
                   str(self.herd_per_second), ",".join(self.probes)]
        self.herd = self.open_client(command, stdout=subprocess.PIPE, text=True)

    def kill_the_named(self):
        """It comes back under its name and with its book, and knows what it has to send again."""
        process, command = self.clients["named"]
        process.kill()
        process.wait(PATIENCE_S)
        self.clients["named"] = (self.open_client(command), command)
        self.counts["named killed"] += 1

    def taker_owns(self):
        """Its book has begun: it has the name, or had it. One that still waits for a broker could
        take the name from the one that is started after it."""
        path = self.books / f"appender-{self.taker}.book"
        if not path.exists():
            return False
        with open(path, "rb") as book:
            return any(book.read(ENTRY.size))

    def take_over(self, stops=True):
        """The one before ends by itself, as soon as it is told that it is fenced."""
        if self.taker + 1 < HERD_FIRST and self.taker_owns():
            before = self.clients[f"taken{self.taker}"] = self.clients["taker"]
            if stops and self.random.random() < 0.5:  # it cannot even notice, until it is woken at the end
                before[0].send_signal(signal.SIGSTOP)
            self.taker += 1
            self.start_client("taker", "appender", self.taker, RATE, "taken", "take")
            self.counts["takeovers"] += 1

    def stop_or_go_on(self):
        """One that is stopped for long must not be waited for."""
        self.is_stopped = not self.is_stopped
        self.clients["free1"][0].send_signal(signal.SIGSTOP if self.is_stopped else signal.SIGCONT)
        self.counts["stopped for long"] += self.is_stopped

    def disturb(self):
        chance = self.random.random()
        if chance < 0.04:
            self.kill_the_named()
        elif chance < 0.08:
            self.take_over()
        elif chance < 0.12:
            self.stop_or_go_on()

    @staticmethod
    def can_back_up():
        return subprocess.run([str(BUILD / "bin" / "esctl"), "backup", "--help"], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def back_up(self, seconds):
        """Until it is made, or the broker has gone: what is left of it is the user's to remove."""
        to = self.root / f"backup{self.counts['backups']}"
        self.counts["backups"] += 1
        with subprocess.Popen([str(BUILD / "bin" / "esctl"), "--run", str(self.run), "backup",
                               str(to)], stdout=subprocess.DEVNULL, stderr=self.errors) as asking:
            self.ends_within(seconds)
            asking.kill()
        shutil.rmtree(to, ignore_errors=True)

    # ---- the end -------------------------------------------------------------

    def end_clients(self, names):
        for name in names:
            self.clients[name][0].terminate()
            self.clients[name][0].send_signal(signal.SIGCONT)
        for name in names:
            code = self.clients[name][0].wait(PATIENCE_S)
            if code != 0:
                raise Broken(f"client {name} ended with {code}")
            del self.clients[name]

    def end_herd(self, is_counted):
        if not is_counted:
            self.herd.terminate()
        said, _ = self.herd.communicate(timeout=PATIENCE_S + 600 * is_counted)
        for line in said.splitlines():
            name, number = line.rsplit(" ", 1)
            self.counts[f"producer {name}"] += int(number)
        if self.herd.returncode != 0:
            raise Broken(f"the herd ended with {self.herd.returncode}")
        self.herd = None

    def wait_for_lanes(self):
        """Every lane is taken back once its owner has gone."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            said = subprocess.run([str(BUILD / "bin" / "esctl"), "--run", str(self.run), "--json",
                                   "status"], stdout=subprocess.PIPE, timeout=PATIENCE_S,
                                  check=True).stdout
            if '"lanes_attached":0' in said.decode().replace(" ", ""):
                return
        raise Broken("lanes of producers that are gone are not taken back")

    def finish(self, plants=None, herd_is_counted=False):
        """Ends everything; returns what the checker has counted. With 'plants', a seed, it must find
        each planted fault as well; their lines are under "lines"."""
        if self.broker is None:
            self.start_and_wait()
        self.end_herd(herd_is_counted)
        self.end_clients([name for name in self.clients if not name.startswith("follower")])
        self.counts["seconds"] = time.monotonic() - self.begun
        self.wait_for_lanes()
        self.end_clients(list(self.clients))
        command = [str(HERE / "torture_check"), str(self.books), str(self.run)]
        if plants is not None:
            command += ["plants", str(plants)]
        checked = subprocess.run(command, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                 timeout=PATIENCE_S * 5, check=False)
        lines = checked.stdout.splitlines()
        if checked.returncode != 0:
            raise Broken("\n".join(lines))
        for line in lines:
            name, _, number = line.rpartition(" ")
            if number.isdigit() and name != "":
                self.counts[name] += int(number)
        self.verify()
        return lines

    def verify(self):
        esctl = str(BUILD / "bin" / "esctl")
        subprocess.run([esctl, "--run", str(self.run), "verify"], stdout=subprocess.DEVNULL,
                       timeout=PATIENCE_S * 5, check=True, stderr=self.errors)
        if self.reap(signal.SIGTERM, may_stop=True) != 0:
            raise Broken("the broker did not stop cleanly")
        subprocess.run([esctl, "verify", "--data", str(self.root / "data")], check=True,
                       stdout=subprocess.DEVNULL, timeout=PATIENCE_S * 5, stderr=self.errors)

    def clean_up(self, keep=False):
        """Ends what still runs; returns the end of what was said on stderr."""
        for process in [one[0] for one in self.clients.values()] + [self.herd, self.broker]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)
        self.driver_book.close()
        self.errors.seek(0)
        said = self.errors.read()[-4000:]
        self.errors.close()
        shutil.rmtree(self.run, ignore_errors=True)
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)
        return said
