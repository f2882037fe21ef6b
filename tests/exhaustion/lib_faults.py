"""The faults that faults.c can make, and what it logs."""
import collections
import errno
import mmap
import os
import struct

from lib_trial import BUILD

E = errno
ERRNOS = {
    "malloc": (E.ENOMEM,), "calloc": (E.ENOMEM,), "realloc": (E.ENOMEM,),
    "reallocarray": (E.ENOMEM,), "strdup": (E.ENOMEM,), "strndup": (E.ENOMEM,),
    "open_memstream": (E.ENOMEM,), "mmap": (E.ENOMEM,), "madvise": (E.ENOMEM,),
    "pthread_create": (E.EAGAIN,), "pthread_atfork": (E.ENOMEM,),
    "open": (E.EMFILE, E.ENFILE, E.EACCES), "openat": (E.EMFILE, E.ENFILE, E.EACCES),
    "fopen": (E.EMFILE, E.ENOMEM), "fdopen": (E.ENOMEM,), "opendir": (E.EMFILE,),
    "fdopendir": (E.ENOMEM,), "readdir": (E.EIO,),
    "read": (E.EIO, E.EINTR), "pread": (E.EIO, E.EINTR), "write": (E.EIO, E.ENOSPC, E.EINTR),
    "pwrite": (E.EIO, E.ENOSPC), "pwritev": (E.EIO, E.ENOSPC, E.EINTR),
    "fsync": (E.EIO, E.ENOSPC), "fdatasync": (E.EIO, E.ENOSPC), "fflush": (E.ENOSPC,),
    "ftruncate": (E.EIO, E.ENOSPC), "posix_fallocate": (E.ENOSPC, E.EINTR),
    "mkdir": (E.EACCES, E.ENOSPC), "mkdirat": (E.EACCES, E.ENOSPC), "rename": (E.EIO, E.ENOSPC),
    "renameat": (E.EIO, E.ENOSPC), "unlink": (E.EACCES,), "unlinkat": (E.EACCES, E.EIO),
    "mkostemp": (E.ENOSPC, E.EMFILE), "stat": (E.EIO,), "lstat": (E.EIO,), "fstat": (E.EIO,),
    "fstatfs": (E.EIO,), "fstatvfs": (E.EIO,), "chmod": (E.EPERM,), "fchmod": (E.EPERM,),
    "chown": (E.EPERM,), "fchown": (E.EPERM,), "flock": (E.EWOULDBLOCK, E.EINTR),
    "realpath": (E.ENOENT, E.EACCES), "fcntl": (E.EMFILE,),
    "socket": (E.EMFILE, E.ENOBUFS), "bind": (E.EADDRINUSE, E.EACCES), "listen": (E.EADDRINUSE,),
    "accept4": (E.EMFILE, E.ECONNABORTED, E.EINTR),
    "connect": (E.ECONNREFUSED, E.EAGAIN, E.EINTR), "send": (E.EPIPE, E.ENOBUFS, E.EINTR),
    "sendmsg": (E.EPIPE, E.ENOBUFS), "recv": (E.ECONNRESET, E.EINTR),
    "recvmsg": (E.ECONNRESET, E.EINTR), "getsockopt": (E.ENOBUFS,), "setsockopt": (E.ENOBUFS,),
    "epoll_create1": (E.EMFILE,), "epoll_ctl": (E.ENOMEM, E.ENOSPC), "epoll_wait": (E.EINTR,),
    "poll": (E.EINTR, E.ENOMEM), "ppoll": (E.EINTR, E.ENOMEM), "eventfd": (E.EMFILE,),
    "signalfd": (E.EMFILE,), "timerfd_create": (E.EMFILE,), "timerfd_settime": (E.EINVAL,),
    "nanosleep": (E.EINTR,), "getrandom": (E.EINTR,), "futex": (E.EINTR,),
    "syscall": (E.EMFILE, E.EPERM),
}
CALL = struct.Struct("24sQ")
LOG_HEAD_BYTES = 32
LOG_BYTES = LOG_HEAD_BYTES + (1 << 20) * CALL.size
OCCURRENCES = (0, 1, 4)  # and the last one

Fault = collections.namedtuple("Fault", "subject name offset occurrence error")


class Preload:
    """The environment that preloads faults.so (and also another library), and what it has logged."""

    def __init__(self, root, fault=None, library=None, also=None):
        self.path = root / "faults"
        with open(self.path, "wb") as file:
            file.truncate(LOG_BYTES)
        self.environment = dict(os.environ, ES_FAULT_LOG=str(self.path),
                                LD_PRELOAD=str(BUILD / "tests" / "exhaustion" / "faults.so"))
        if also is not None:
            self.environment["LD_PRELOAD"] += f":{also}"
        if library is not None:
            self.environment["ES_FAULT_OBJECT"] = library
        if fault is not None:
            self.environment["ES_FAULT"] = (f"{fault.name} {fault.offset} {fault.occurrence} "
                                            f"{fault.error}")

    def read(self):
        """(calls by place, how often the fault came)."""
        with open(self.path, "rb") as file, \
                mmap.mmap(file.fileno(), LOG_BYTES, access=mmap.ACCESS_READ) as view:
            count, hits = struct.unpack_from("QQ", view)
            calls = collections.Counter()
            for index in range(min(count, 1 << 20)):
                name, offset = CALL.unpack_from(view, LOG_HEAD_BYTES + index * CALL.size)
                calls[name.rstrip(b"\0").decode(), offset] += 1
        return calls, hits

    def kept(self):
        """(allocations, mappings) that were not given back."""
        with open(self.path, "rb") as file:
            return struct.unpack_from("qq", file.read(LOG_HEAD_BYTES), 16)
