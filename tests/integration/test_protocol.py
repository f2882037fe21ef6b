#!/usr/bin/env python3
"""A client written from the documents alone talks to the broker; and nothing malformed, cut short
or random takes the broker down: each gets an answer, and the next sound request is served."""

import hashlib
import os
import random
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib_protocol import (  # noqa: E402
    Broker, Peer, REQ, Requests, SUB, Subscription, append, check_envelope, event, event_hash, pack,
    unpack)

OK, CONFLICT, NOT_FOUND, REJECTED = 0, 1, 2, 7
INVALID, VERSION = -1, -10
STREAM = "test:main:L0:orders:M%d"


class Case(unittest.TestCase):
    """Each test has a broker of its own."""

    def setUp(self):
        self.broker = Broker()
        self.client = Requests(self.broker.run_dir)

    def tearDown(self):
        self.client.close()
        self.assertEqual(self.broker.close(), 0)

    def append_ok(self, *operations):
        status, result = self.client.append(list(operations))
        self.assertEqual((status, result[0]), (OK, OK), result)
        return result

    def ask_ok(self, verb, *arguments):
        status, position, rest = self.client.ask(verb, *arguments)
        self.assertEqual(status, OK, rest)
        return position, rest


class Documented(Case):
    """What the table of requests promises."""

    def test_hello_tells_identity_and_limits_and_the_genesis_hash_is_as_documented(self):
        position, rest = self.ask_ok(1, "python")
        store_id, epoch, starts, store_hash, durability, largest, page, heartbeat = rest[:8]
        self.assertEqual(position, 0)
        self.assertEqual(len(store_id), 16)
        self.assertGreater(epoch, 0)
        self.assertEqual(starts, 1)
        self.assertEqual(durability, 1)
        self.assertGreater(largest, 100000)
        self.assertEqual(page, 256 * 1024)
        self.assertGreater(heartbeat, 0)
        genesis = hashlib.blake2b(b"eventspine" + store_id, digest_size=32).digest()
        self.assertEqual(store_hash, genesis)

    def test_an_appended_event_has_the_documented_hash_and_is_read_back_chained(self):
        stream = STREAM % 1
        hashes = [b""]
        for number in range(1, 4):
            payload = pack([number, "x" * number])
            result = self.append_ok(append(stream, [event(number * 10, "Happened", payload)]))
            _, _, _, sequence, position, own, commit, store_hash, _, tick, time_us = result[:11]
            hashes.append(event_hash(stream, number * 10, "Happened", payload, hashes[-1]))
            self.assertEqual((sequence, position, tick), (number, number, number * 10))
            self.assertEqual(own, hashes[-1])
            self.assertEqual(len(store_hash), 32)
            self.assertGreater(commit, 0)
            self.assertGreater(time_us, 1600000000000000)
        position, (events, end, _) = self.ask_ok(3, stream, 0, 10, False)
        self.assertEqual((position, end, len(events)), (3, True, 3))
        previous = b""
        for number, (at, sequence, _, envelope) in enumerate(events, 1):
            self.assertEqual((at, sequence), (number, number))
            name, tick, kind, payload, previous = check_envelope(envelope, previous)
            self.assertEqual((name, tick, kind), (stream, number * 10, "Happened"))
            self.assertEqual(payload, pack([number, "x" * number]))

    def test_an_event_may_name_the_hash_that_it_must_come_out_with(self):
        stream = STREAM % 1
        right = event_hash(stream, 1, "A", b"", b"")
        self.append_ok(append(stream, [event(1, "A", b"", right)]))
        status, result = self.client.append([append(stream, [event(2, "A", b"", right)])])
        self.assertEqual((status, result[0]), (CONFLICT, CONFLICT))

    def test_each_expectation_holds_or_is_answered_with_what_is_there(self):
        stream = STREAM % 1
        one = [event(1, "A", b"\x01")]
        for wrong in (append(stream, one, sequence=-1), append(stream, one, sequence=1),
                      append(stream, one, stream_hash=bytes(32))):
            status, result = self.client.append([wrong])
            self.assertEqual((status, result[0], result[3]), (CONFLICT, CONFLICT, 0))
        first = self.append_ok(append(stream, one, sequence=0, stream_hash=b""))
        for wrong in (append(stream, one, sequence=0), append(stream, one, sequence=2),
                      append(stream, one, stream_hash=b""),
                      append(stream, one, stream_hash=bytes(32))):
            status, result = self.client.append([wrong])
            self.assertEqual((status, result[0], result[3], result[5]),
                             (CONFLICT, CONFLICT, 1, first[5]))
        self.append_ok(append(stream, one, sequence=-1))
        self.append_ok(append(stream, one, sequence=2))

    def test_a_transaction_is_stored_whole_or_not_at_all(self):
        a, b = STREAM % 1, STREAM % 2
        status, result = self.client.append([append(a, [event(1, "A", b"")]),
                                             append(b, [event(1, "B", b"")], sequence=7)])
        self.assertEqual((status, result[2]), (CONFLICT, 1))
        self.assertEqual(self.client.ask(6, a)[0], NOT_FOUND)
        self.append_ok(append(a, [event(1, "A", b""), event(2, "A", b"")]),
                       append(b, [event(1, "B", b"")]), append(a, [event(3, "A", b"")], sequence=2))
        position, (head,) = self.ask_ok(6, a)
        self.assertEqual((position, head[0], head[1], head[3], head[4], head[5]),
                         (4, a, 3, 3, 4, 1))

    def test_reading_all_pages_forwards_and_chooses_a_category_or_a_prefix(self):
        for number in range(10):
            category = "orders" if number % 2 == 0 else "stock"
            self.append_ok(append("test:main:L0:%s:M%d" % (category, number),
                                  [event(number, "A", b"")]))
        seen, after = [], 1
        while True:
            _, (events, end, after) = self.ask_ok(4, after, 3, None)
            self.assertLessEqual(len(events), 3)
            seen += [item[0] for item in events]
            if end:
                break
        self.assertEqual(seen, list(range(1, 11)))
        for choice, expected in (("test:main:L0:orders", 5), ("test:main:L0:or*", 5),
                                 ("test:main:", 10), ("test:main:L0:or", 0), ("other:*", 0)):
            _, (events, end, _) = self.ask_ok(4, 1, 100, choice)
            self.assertEqual((len(events), end), (expected, True), choice)

    def test_a_stream_is_read_backwards_and_from_a_sequence(self):
        self.append_ok(append(STREAM % 1, [event(n, "A", b"") for n in range(5)]))
        _, (events, end, _) = self.ask_ok(3, STREAM % 1, 0, 2, True)
        self.assertEqual(([item[1] for item in events], end), ([5, 4], False))
        _, (events, end, _) = self.ask_ok(3, STREAM % 1, 3, 9, True)
        self.assertEqual(([item[1] for item in events], end), ([3, 2, 1], True))
        _, (events, end, _) = self.ask_ok(3, STREAM % 1, 4, 9, False)
        self.assertEqual(([item[1] for item in events], end), ([4, 5], True))
        self.assertEqual(self.client.ask(3, STREAM % 2, 0, 9, False)[0], NOT_FOUND)

    def test_streams_scan_and_store_head_agree(self):
        for number in range(4):
            self.append_ok(append(STREAM % number, [event(1, "A", b"")] * (number + 1)))
        _, (first, end) = self.ask_ok(8, "test:", "", 3)
        self.assertEqual(([item[:2] for item in first], end),
                         ([[STREAM % n, n + 1] for n in range(3)], False))
        _, (rest, end) = self.ask_ok(8, "test:", first[-1][0], 3)
        self.assertEqual(([item[:2] for item in rest], end), ([[STREAM % 3, 4]], True))
        _, (items, end, _) = self.ask_ok(5, b"", STREAM % 2, 100)
        self.assertEqual(([item[0] for item in items], end), ([1, 2, 3], True))
        position, (store_hash, store_id, epoch, commit, starts) = self.ask_ok(7)
        hello = self.ask_ok(1, "python")[1]
        self.assertEqual((position, commit, starts), (10, 4, 1))
        self.assertEqual((store_id, epoch, store_hash), (hello[0], hello[1], hello[3]))

    def test_keys_have_revisions_that_are_expected_and_never_given_twice(self):
        put = self.append_ok([2, 0, "conf", "a", 0, b"one"])
        self.assertEqual(self.ask_ok(13, 0, "conf", "a")[1], [put[8], b"one"])
        status, result = self.client.append([[2, 0, "conf", "a", 0, b"two"]])
        self.assertEqual((status, result[8]), (CONFLICT, put[8]))
        again = self.append_ok([2, 0, "conf", "a", put[8], b"two"])
        self.append_ok([2, 0, "conf", "b", None, b"three"], [2, 1, "conf", "a", None, b"derived"])
        _, (items, end) = self.ask_ok(14, 0, "conf", "", 10)
        self.assertEqual(([(item[0], item[2]) for item in items], end),
                         ([("a", b"two"), ("b", b"three")], True))
        self.assertEqual(self.ask_ok(13, 1, "conf", "a")[1][1], b"derived")
        _, (items, end, _) = self.ask_ok(17, b"", 10)
        self.assertEqual([(item[0], item[1], item[3]) for item in items],
                         [("conf", "a", b"two"), ("conf", "b", b"three")])
        self.append_ok([3, 0, "conf", "a", again[8]])
        self.assertEqual(self.client.ask(13, 0, "conf", "a")[0], NOT_FOUND)
        self.assertGreater(self.append_ok([2, 0, "conf", "a", 0, b"new"])[8], again[8])

    def test_a_snapshot_is_bound_to_an_event_that_is_there(self):
        stream = STREAM % 1
        self.append_ok(append(stream, [event(10, "A", b""), event(20, "A", b"")]))
        self.assertEqual(self.client.ask(9, stream, 30, 3, "sum", 1, b"no")[0], NOT_FOUND)
        _, (saved,) = self.ask_ok(9, stream, 20, 2, "sum", 1, b"state")
        head = self.ask_ok(6, stream)[1][0]
        self.assertEqual((saved[:3], saved[3], saved[4:6], saved[7:9]),
                         ([stream, 20, 2], head[2], ["sum", 1], [5, True]))
        _, (loaded, state) = self.ask_ok(10, stream, None, "sum")
        self.assertEqual((loaded[2], state), (2, b"state"))
        self.assertEqual(self.client.ask(10, stream, 19, "sum")[0], NOT_FOUND)
        self.assertEqual(self.client.ask(10, stream, None, "other")[0], NOT_FOUND)
        _, (items, end, _) = self.ask_ok(11, "test:", b"", 10)
        self.assertEqual((len(items), end), (1, True))
        self.assertEqual(self.ask_ok(12, stream, None, None)[1], [1])
        self.assertEqual(self.ask_ok(11, "test:", b"", 10)[1][0], [])

    def test_status_names_numbers_and_texts(self):
        _, (pairs,) = self.ask_ok(15)
        names = [name for name, _ in pairs]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("events", names)

    def test_a_subscriber_sees_each_commit_once_in_order_and_can_tell_a_gap(self):
        self.append_ok(append(STREAM % 1, [event(1, "Before", b"")]))
        live = Subscription(self.broker.run_dir, "S:test:main:L0:orders:", "H:")
        topic, body = live.next()
        self.assertEqual((topic, body[0]), ("H:", 1))  # at once when a subscriber connects
        self.append_ok(append(STREAM % 1, [event(2, "A", b"1"), event(3, "A", b"2")]))
        self.append_ok(append("test:main:L0:stock:M1", [event(1, "B", b"")]))
        self.append_ok(append(STREAM % 2, [event(4, "A", b"3")]))
        seen, previous = [], {}
        while len(seen) < 3:
            topic, body = live.next()
            if topic == "H:":
                self.assertEqual(len(body), 8)
                continue
            _, epoch, before, first, last, events = body
            if last == 1:
                continue  # acknowledged before it is published: it may still come, or not
            self.assertEqual(epoch, self.ask_ok(1, "python")[1][1])
            self.assertEqual(before, previous.get(topic, 1))
            self.assertEqual((first, last), (events[0][0], events[-1][0]))
            previous[topic] = last
            seen += [(item[0], unpack(item[3])[6]) for item in events]
        self.assertEqual(seen, [(2, "A"), (3, "A"), (5, "A")])
        while True:  # the head of a heartbeat reaches the last position
            topic, body = live.next()
            if topic == "H:" and body[5] == 5:
                break
        live.close()


SOUND = (
    [1, 1, "python"], [1, 2, pack([1, 0, [append(STREAM % 1, [event(1, "A", b"")])]]), 0],
    [1, 3, STREAM % 1, 0, 10, False], [1, 4, 1, 10, None], [1, 5, b"", "test:", 10],
    [1, 6, STREAM % 1], [1, 7], [1, 8, "test:", "", 10], [1, 9, STREAM % 1, 1, 1, "p", 1, b"s"],
    [1, 10, STREAM % 1, None, "p"], [1, 11, "", b"", 10], [1, 12, STREAM % 1, None, None],
    [1, 13, 0, "n", "k"], [1, 14, 0, "n", "", 10], [1, 15], [1, 17, b"", 10],
)

MALFORMED = {
    "nothing": b"",
    "the byte that is never used": b"\xc1",
    "a number": b"\x01",
    "an empty array": b"\x90",
    "a map": b"\x81\x01\x02",
    "no verb": b"\x91\x01",
    "a verb that is no number": pack([1, "hello", "x"]),
    "an unknown verb": pack([1, 200]),
    "verb 0": pack([1, 0]),
    "a negative verb": pack([1, -1]),
    "too few arguments": pack([1, 6]),
    "too many arguments": pack([1, 6, STREAM % 1, 1]),
    "bytes behind the end": pack([1, 7]) + b"\x00",
    "cut short": pack([1, 6, STREAM % 1])[:-3],
    "a number in a longer form": b"\x92\x01\xcc\x07",
    "a positive number in a signed form": b"\x92\xd0\x01\x07",
    "a text in a longer form": b"\x93\x01\x06\xda\x00\x01x",
    "a text that is not UTF-8": b"\x93\x01\x01\xa2\xff\xfe",
    "an array header that promises four billion": b"\xdd\xff\xff\xff\xff",
    "a binary that promises four gigabytes": b"\x94\x01\x02\xc6\xff\xff\xff\xff",
    "an argument of another kind": pack([1, 6, 17]),
    "nil where a text belongs": pack([1, 6, None]),
    "a stream that is none": pack([1, 6, "nonsense"]),
    "a count of 0": pack([1, 4, 1, 0, None]),
    "a count beyond its bound": pack([1, 4, 1, 1 << 40, None]),
    "a tick beyond its bound": pack([1, 10, STREAM % 1, 1 << 63, ""]),
    "a family that is none": pack([1, 13, 9, "n", "k"]),
    "a namespace with a colon": pack([1, 13, 0, "n:n", "k"]),
    "a float": b"\x93\x01\x06\xcb" + struct.pack(">d", 1.5),
    "10,000 arrays inside each other": b"\x91" * 10000,
}

TRANSACTIONS = {
    "not MessagePack": b"\xc1",
    "empty": b"",
    "another version": pack([2, 0, []]),
    "no operation": pack([1, 0, []]),
    "an unknown operation": pack([1, 0, [[9, STREAM % 1]]]),
    "an append without events": pack([1, 0, [append(STREAM % 1, [])]]),
    "a stream with four parts": pack([1, 0, [append("a:b:L0:c", [event(1, "A", b"")])]]),
    "a level with a leading zero": pack([1, 0, [append("a:b:L00:c:M1", [event(1, "A", b"")])]]),
    "a reserved part": pack([1, 0, [append("$a:b:L0:c:M1", [event(1, "A", b"")])]]),
    "a part that is too long": pack([1, 0, [append("a:%s:L0:c:M1" % ("b" * 256),
                                                   [event(1, "A", b"")])]]),
    "an empty type": pack([1, 0, [append(STREAM % 1, [event(1, "", b"")])]]),
    "a type with a line break": pack([1, 0, [append(STREAM % 1, [event(1, "A\n", b"")])]]),
    "a negative tick": pack([1, 0, [append(STREAM % 1, [event(-1, "A", b"")])]]),
    "an expected hash of 31 bytes": pack([1, 0, [append(STREAM % 1, [event(1, "A", b"")],
                                                        stream_hash=bytes(31))]]),
    "a producer sequence without a name": pack([1, 5, [append(STREAM % 1, [event(1, "A", b"")])]]),
    "bytes behind the end": pack([1, 0, [append(STREAM % 1, [event(1, "A", b"")])]]) + b"\0",
}


class Malformed(Case):
    """What breaks a rule is told so, and harms nobody."""

    def assert_serves(self):
        self.assertTrue(self.broker.is_alive())
        self.assertEqual(self.client.ask(1, "python")[0], OK)

    def test_each_malformed_request_is_answered_with_a_failure_and_a_sentence(self):
        for what, request in MALFORMED.items():
            with self.subTest(what):
                begun = time.monotonic()
                version, status, _, message, *_ = unpack(self.client.ask_bytes(request))
                self.assertEqual((version, status), (1, INVALID))
                self.assertGreater(len(message), 5)
                self.assert_serves()
                self.assertGreaterEqual(time.monotonic() - begun, 0.004)  # it rested in between

    def test_another_protocol_version_is_named_as_such(self):
        for version in (0, 2, 1 << 40):
            self.assertEqual(unpack(self.client.ask_bytes(pack([version, 7])))[1], VERSION)
        self.assert_serves()

    def test_each_malformed_transaction_is_rejected_with_a_reason_and_stores_nothing(self):
        for what, transaction in TRANSACTIONS.items():
            with self.subTest(what):
                status, _, (result, *_) = self.client.ask(2, transaction, 0)
                self.assertEqual((status, result[0]), (REJECTED, REJECTED))
                self.assertGreater(result[1], 0)
        self.assertEqual(self.ask_ok(7)[0], 0)

    def test_a_request_that_is_too_long_closes_only_its_own_connection(self):
        other = Requests(self.broker.run_dir)
        with self.assertRaises((ConnectionError, BrokenPipeError)):
            other.ask_bytes(bytes(3 << 20))
        other.close()
        self.assert_serves()

    def test_half_a_greeting_half_a_frame_and_a_wrong_peer_harm_nobody(self):
        path = os.path.join(self.broker.run_dir, "requests.sock")
        for sent in (b"", b"\0SP", b"\0SP\0\0\x30\0\0", b"GET / HTTP/1.1\r\n\r\n",
                     b"\0SP\0\0\x30\0\0\x01\0\0\0\0\0\0\0\x40half",
                     b"\0SP\0\0\x30\0\0\x01" + b"\xff" * 8, b"\0SP\0\0\x30\0\0\x01" + bytes(8)):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(path)
                stranger.sendall(sent)
        for protocol, name in ((SUB, "requests.sock"), (REQ, "events.sock")):
            Peer(os.path.join(self.broker.run_dir, name), protocol).close()
        for _ in range(20):  # connect and leave at once: nng 1.5 stopped listening after one
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(path)
        Requests(self.broker.run_dir).close()
        self.assert_serves()

    def test_random_changes_to_sound_requests_are_all_answered(self):
        seed = int(os.environ.get("ES_SEED", str(random.randrange(1 << 32))), 0)
        print("seed %d (ES_SEED=%d runs it again)" % (seed, seed), flush=True)
        chance = random.Random(seed)
        for _ in range(2000):
            request = bytearray(pack(chance.choice(SOUND)))
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(request))
                kind = chance.randrange(3)
                if kind == 0:
                    request[at] = chance.randrange(256)
                elif kind == 1:
                    del request[at:at + chance.randrange(1, 4)]
                else:
                    request[at:at] = chance.randbytes(chance.randrange(1, 4))
                if not request:
                    break
            reply = unpack(self.client.ask_bytes(bytes(request)))
            self.assertEqual(reply[0], 1, bytes(request).hex())
            self.assertGreaterEqual(len(reply), 3)
        self.assert_serves()


if __name__ == "__main__":
    unittest.main(verbosity=2)
