"""A disk that can lose its power: power_disk (FUSE), a loop device on its file, ext4 on that. What is
made is taken down in the reverse order, by the names and numbers it was given, whatever happens."""
import os
import pathlib
import select
import shutil
import subprocess

BUILD = pathlib.Path(os.environ.get("ES_BUILD_DIR", pathlib.Path(__file__).parents[2] / "build"))
PROGRAMS = BUILD / "tests" / "power"
PATIENCE_S = 120
DISK_MIB = 64
FOREVER = 1 << 60  # operations: no cut by itself
MKFS = ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0", "-J", "size=4"]


class Broken(Exception):
    """A promise is."""


def why_not():
    """What is missing for the suite, or None."""
    if os.geteuid() != 0:
        return "not root"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(path, os.R_OK | os.W_OK):
            return f"{path} is not there"
    for program in ("losetup", "mkfs.ext4", "mount", "umount", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not there"
    if not (PROGRAMS / "power_disk").exists():
        return "tests/power/power_disk was not built: libfuse3-dev is missing"
    return None


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout.strip()


def read_line(process, patience=PATIENCE_S):
    """A line of an unbuffered pipe, "" at its end."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], patience)[0]:
            raise Broken(f"{process.args[0]} says nothing for {patience} s")
        byte = os.read(process.stdout.fileno(), 1)
        if byte == b"":
            break
        line += byte
    return line.decode(errors="replace").rstrip("\n")


class Mounted:
    """A loop device on a file, mounted; ext4 looks at its journal then."""

    def __init__(self, file, where):
        self.where = pathlib.Path(where)
        self.where.mkdir()
        self.loop = run("losetup", "-f", "--show", str(file))
        self.is_mounted = False

    def mount(self):
        run("mount", "-t", "ext4", self.loop, str(self.where))
        self.is_mounted = True

    def close(self):
        if self.is_mounted:
            try:
                run("umount", str(self.where))
            except OSError:
                run("umount", "-l", str(self.where))
            self.is_mounted = False
        if self.loop is not None:
            run("losetup", "-d", self.loop)
            self.loop = None
            self.where.rmdir()


class Cut:
    """What power_disk tells of one."""

    def __init__(self, line, watched):
        word, *rest = line.split()
        if word != "cut":
            raise OSError(f"power_disk: {line}")
        numbers = [int(text) for text in rest]
        self.unsynced, self.kept, self.stale = numbers[2:5]
        self.texts = []  # what the clients had written down when the power went
        for path, size in zip(watched, numbers[5:]):
            with open(path, "rb") as file:
                self.texts.append(file.read(size).decode())


class PowerDisk:
    """'image': what is on it; None: a new file system."""

    def __init__(self, root, image=None):
        self.root = pathlib.Path(root)
        self.root.mkdir()
        self.directory = self.root / "fuse"
        self.directory.mkdir()
        self.watched = []
        self.mounted = None
        arguments = [str(PROGRAMS / "power_disk"), str(self.directory), str(DISK_MIB)]
        self.process = subprocess.Popen(arguments + ([str(image)] if image else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if read_line(self.process) != "ready":
            raise OSError("power_disk does not start")
        self.mounted = Mounted(self.directory / "disk", self.root / "mount")
        if image is None:
            run(*MKFS, self.mounted.loop)
        self.where = self.mounted.where

    def mount(self):
        self.mounted.mount()

    def order(self, text):
        self.process.stdin.write(f"{text}\n".encode())

    def watch(self, path):
        self.watched.append(path)
        self.order(f"watch {path}")
        if read_line(self.process) != "ok":
            raise OSError("power_disk watches no more files")

    def arm(self, operations, keep, stale, seed, image):
        self.order(f"cut {operations} {keep} {stale} {seed} {image}")

    def cut(self):
        """The cut that was armed, by now at the latest."""
        self.order("now")
        return Cut(read_line(self.process), self.watched)

    def cut_now(self, keep, stale, seed, image):
        self.arm(FOREVER, keep, stale, seed, image)
        return self.cut()

    def close(self):
        if self.mounted is not None:
            self.mounted.close()
            self.mounted = None
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)


def try_the_disk(root):
    """It is what it says: what is synced survives every cut, what is not may be lost or kept, and a
    sync inside of the file system is one of the disk."""
    disk = PowerDisk(root / "trial")
    try:
        disk.mount()
        for name, is_synced in (("synced", True), ("lost", False)):
            file = os.open(disk.where / name, os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(file, b"x" * 5000)
            if is_synced:
                os.fsync(file)
            os.close(file)
        image = root / "image"
        for keep in (0, 100):
            disk.cut_now(keep, 0, 1, image)
            found = Mounted(image, root / "found")
            try:
                found.mount()
                if (found.where / "synced").read_bytes() != b"x" * 5000:
                    raise Broken("the disk of the test loses what was synced")
                if (found.where / "lost").exists():
                    raise Broken("the disk of the test keeps what never came to it")
            finally:
                found.close()
        image.unlink()
    finally:
        disk.close()
