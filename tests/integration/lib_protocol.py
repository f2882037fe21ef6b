"""A client in another language: what docs/protocol.md and docs/formats.md say, and nothing else.

Only Python's standard library: a MessagePack of the strict form, nng's framing over a Unix socket,
and the requests. Tests use it to show that the documents are enough to write one.
"""

import hashlib
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile

# ---- MessagePack, the strict form (formats.md) ---------------------------------------------------


def pack(value):
    """One value as MessagePack, shortest forms; int, str, bytes, bool, None, list."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_int(value)
    if isinstance(value, str):
        text = value.encode()
        return pack_header(len(text), 0xA0, 32, b"\xd9", b"\xda", b"\xdb") + text
    if isinstance(value, bytes):
        return pack_header(len(value), 0, 0, b"\xc4", b"\xc5", b"\xc6") + value
    if isinstance(value, (list, tuple)):
        items = b"".join(pack(item) for item in value)
        return pack_header(len(value), 0x90, 16, None, b"\xdc", b"\xdd") + items
    raise TypeError(type(value))


def pack_header(size, fix, fix_end, one, two, four):
    if size < fix_end:
        return bytes([fix | size])
    if one is not None and size < 1 << 8:
        return one + struct.pack(">B", size)
    if size < 1 << 16:
        return two + struct.pack(">H", size)
    return four + struct.pack(">I", size)


def pack_int(value):
    if value >= 0:
        forms = ((1 << 7, b"", ">B"), (1 << 8, b"\xcc", ">B"), (1 << 16, b"\xcd", ">H"),
                 (1 << 32, b"\xce", ">I"), (1 << 64, b"\xcf", ">Q"))
        for end, lead, form in forms:
            if value < end:
                return lead + struct.pack(form, value)
    forms = ((1 << 5, b"", ">b"), (1 << 7, b"\xd0", ">b"), (1 << 15, b"\xd1", ">h"),
             (1 << 31, b"\xd2", ">i"), (1 << 63, b"\xd3", ">q"))
    for end, lead, form in forms:
        if value >= -end:
            return lead + struct.pack(form, value)
    raise OverflowError(value)


def unpack(data):
    """The one value that 'data' is; anything left over is an error."""
    value, rest = unpack_one(memoryview(data))
    if len(rest) != 0:
        raise ValueError("bytes follow the value")
    return value


SIZED = {0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
         0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
         0xDC: ("array", ">H"), 0xDD: ("array", ">I")}
NUMBERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
           0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}


def unpack_one(data):
    lead = data[0]
    data = data[1:]
    if lead < 0x80:
        return lead, data
    if lead >= 0xE0:
        return lead - 0x100, data
    if lead in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[lead], data
    if lead in NUMBERS:
        size = struct.calcsize(NUMBERS[lead])
        return struct.unpack(NUMBERS[lead], data[:size])[0], data[size:]
    if lead in SIZED:
        kind, form = SIZED[lead]
        size = struct.calcsize(form)
        count = struct.unpack(form, data[:size])[0]
        data = data[size:]
    elif 0xA0 <= lead < 0xC0:
        kind, count = "str", lead & 0x1F
    elif 0x90 <= lead < 0xA0:
        kind, count = "array", lead & 0x0F
    else:
        raise ValueError("0x%02x does not belong here" % lead)
    if kind == "array":
        items = []
        for _ in range(count):
            item, data = unpack_one(data)
            items.append(item)
        return items, data
    if count > len(data):
        raise ValueError("cut short")
    content = bytes(data[:count])
    return content.decode() if kind == "str" else content, data[count:]


# ---- framing of nng over ipc:// (protocol.md) ----------------------------------------------------

REQ, SUB = 0x30, 0x21


class Peer:
    """One nng connection over a Unix socket, as REQ or SUB."""

    def __init__(self, path, protocol, timeout_s=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(path)
        self.socket.sendall(b"\0SP\0" + struct.pack(">HH", protocol, 0))
        greeting = self.exactly(8)
        assert greeting[:4] == b"\0SP\0", greeting
        self.other = struct.unpack(">H", greeting[4:6])[0]

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
        return data

    def send(self, message):
        self.socket.sendall(b"\x01" + struct.pack(">Q", len(message)) + message)

    def receive(self):
        head = self.exactly(9)
        assert head[0] == 1, head
        return self.exactly(struct.unpack(">Q", head[1:])[0])

    def close(self):
        self.socket.close()


class Requests(Peer):
    """The REQ side: a request id with its highest bit set goes before each request."""

    def __init__(self, run_dir):
        super().__init__(os.path.join(run_dir, "requests.sock"), REQ)
        self.number = random.getrandbits(31)

    def ask_bytes(self, request):
        """Sends these bytes as a request; the reply's bytes."""
        self.number = (self.number + 1) & 0x7FFFFFFF
        request_id = struct.pack(">I", 0x80000000 | self.number)
        self.send(request_id + request)
        reply = self.receive()
        assert reply[:4] == request_id, reply[:4]
        return reply[4:]

    def ask(self, verb, *arguments):
        """(status, position, rest) of one request."""
        version, status, position, *rest = unpack(self.ask_bytes(pack([1, verb, *arguments])))
        assert version == 1
        return status, position, rest

    def append(self, operations, producer_sequence=0, flags=0):
        """(status, result) of one transaction, or (status, message)."""
        status, _, rest = self.ask(2, pack([1, producer_sequence, operations]), flags)
        return status, rest[0]


class Subscription(Peer):
    """The SUB side. The broker sends everything; the subscriber chooses by topic."""

    def __init__(self, run_dir, *prefixes):
        super().__init__(os.path.join(run_dir, "events.sock"), SUB)
        self.prefixes = prefixes

    def next(self):
        """(topic, body) of the next message whose topic begins with one of the prefixes."""
        while True:
            topic, body = self.receive().split(b"\0", 1)
            if any(topic.startswith(prefix.encode()) for prefix in self.prefixes):
                return topic.decode(), unpack(body)


# ---- events (formats.md) -------------------------------------------------------------------------


def event(tick, kind, payload, expected_hash=None):
    return [tick, kind, payload, expected_hash]


def append(stream, events, sequence=None, stream_hash=None):
    """An append operation; sequence: None any, 0 none, -1 exists, N exactly."""
    return [1, stream, sequence, stream_hash, events]


def event_hash(stream, tick, kind, payload, previous_hash):
    """What the hash of an event must be."""
    variant, branch, level, domain, model = stream.split(":")
    preimage = [1, variant, branch, int(level[1:]), domain, model[1:], tick, kind, payload,
                previous_hash]
    return hashlib.blake2b(pack(preimage), digest_size=32).digest()


def check_envelope(envelope, previous_hash):
    """Decodes an envelope, verifies hash and link; (stream, tick, kind, payload, hash)."""
    variant, branch, level, domain, model, tick, kind, payload, previous, own = unpack(envelope)
    stream = "%s:%s:L%d:%s:M%s" % (variant, branch, level, domain, model)
    assert previous == previous_hash, "the link is broken"
    assert own == event_hash(stream, tick, kind, payload, previous), "the hash is wrong"
    assert pack(unpack(envelope)) == envelope, "not the strict form"
    return stream, tick, kind, payload, own


# ---- a broker to talk to -------------------------------------------------------------------------


class Broker:
    """A broker in a temporary directory, ended and removed by close()."""

    def __init__(self, *options):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        self.run_dir = os.path.join(self.directory.name, "run")
        os.mkdir(self.run_dir, 0o700)
        self.options = options
        self.process = None
        self.start()

    def start(self):
        """Again, on the same directories, after the process has ended."""
        if self.process is not None:
            self.process.stdout.close()
        program = os.path.join(os.environ["ES_BUILD_DIR"], "bin", "esbroker")
        self.process = subprocess.Popen(
            [program, "--data", os.path.join(self.directory.name, "data"), "--run", self.run_dir,
             "--durability", "os", *self.options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready"), line

    def is_alive(self):
        return self.process.poll() is None

    def close(self):
        """The exit code after SIGTERM."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.directory.cleanup()
        return code
