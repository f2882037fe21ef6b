"""What must be in a store after a power cut, seen from the clients' own logs (writer.c says how
numbers become events)."""
import base64
import collections
import json

from lib_disk import Broken

STREAMS = 5
EVENTS_MAX = 3


def is_hopeless(number):
    return number % 5 == 4


def filler(number, index):
    return bytes([ord("a") + number % 26]) * ((number * 7919 + index) % 700)


def events_of(name, number):
    """The (stream, payload) that this transaction stores."""
    count = EVENTS_MAX if number % 4 == 3 else 1
    made = [(f"power:cut:L0:first:M{name}-{number % STREAMS}", index) for index in range(count)]
    if number % 7 == 6:
        made.append((f"power:cut:L0:second:M{name}", count))
    return [(stream, b"%s %d %d " % (name.encode(), number, index) + filler(number, index))
            for stream, index in made]


class Log:
    """What one writer was answered, up to a moment."""

    def __init__(self, name, text):
        self.name = name
        self.acknowledged = {}
        self.refused = set()
        for line in text[:text.rfind("\n") + 1].splitlines():
            word, number, *rest = line.split()
            if word == "A":
                self.acknowledged[int(number)] = (int(rest[0]), int(rest[1]), rest[2])
            else:
                self.refused.add(int(number))


class Found:
    """An export."""

    def __init__(self, lines):
        self.events = collections.defaultdict(list)  # by writer and number
        self.last = collections.Counter()  # the highest number of a writer
        self.keys = {}
        self.head = 0
        sequences = collections.Counter()
        for line in lines:
            entry = json.loads(line)
            if "namespace" in entry:
                self.keys[entry["key"]] = int(entry["value"])
                continue
            self.head += 1
            sequences[entry["stream"]] += 1
            if entry["position"] != self.head:
                raise Broken(f"position {entry['position']} where {self.head} should be")
            if entry["sequence"] != sequences[entry["stream"]]:
                raise Broken(f"position {self.head}: sequence {entry['sequence']}, not "
                             f"{sequences[entry['stream']]} of {entry['stream']}")
            payload = base64.b64decode(entry["payload_base64"])
            name, number = payload.split(b" ", 2)[:2]
            owner = (name.decode(), int(number))
            if int(number) < self.last[owner[0]]:
                raise Broken(f"position {self.head}: {owner} behind {self.last[owner[0]]}")
            self.last[owner[0]] = int(number)
            self.events[owner].append((entry["stream"], payload, entry["position"],
                                       entry["sequence"], entry["hash"]))


def check(logs, found, may_lose_tail):
    """'may_lose_tail': durability os, of which a prefix is enough. Returns how many acknowledged
    transactions are lost that way."""
    lost = 0
    names = {log.name for log in logs}
    for (name, number), events in found.events.items():
        where = f"{name} {number}"
        if name not in names or is_hopeless(number):
            raise Broken(f"{where} was never to be stored, and is there")
        if [(stream, payload) for stream, payload, *_ in events] != events_of(name, number):
            raise Broken(f"{where} is torn: {[event[0] for event in events]}")
    for log in logs:
        last = found.last[log.name]
        for number in range(1, last + 1):
            if not is_hopeless(number) and (log.name, number) not in found.events:
                raise Broken(f"{log.name} {number} is not there, but {last} behind it is")
        if found.keys.get(log.name, 0) != last:
            raise Broken(f"the key of {log.name} is {found.keys.get(log.name)}, its events end "
                         f"with {last}: a transaction is torn")
        for number, (position, sequence, digest) in log.acknowledged.items():
            if may_lose_tail and position > found.head:
                lost += 1
                continue
            events = found.events.get((log.name, number))
            if events is None:
                raise Broken(f"{log.name} {number} was acknowledged at position {position}, and is "
                             f"lost: the history ends at {found.head}")
            if events[-1][2:] != (position, sequence, digest):
                raise Broken(f"{log.name} {number} was acknowledged as {position} {sequence} "
                             f"{digest}, and is there as {events[-1][2:]}")
        for number in log.refused:
            if not is_hopeless(number):
                raise Broken(f"{log.name} {number} was refused for no reason")
    return lost
