"""snapshot and kv: what is bound to an event, what a revision guards, and every byte kept."""

import os
import unittest

from lib_esctl import STREAM, Case

MEMBERS = ["stream", "tick", "sequence", "hash", "projection", "version", "created", "bytes",
           "valid"]


class Snapshots(Case):
    def save(self, tick, sequence, *options, state=b"state", code=0, stream=STREAM):
        arguments = ("snapshot", "save", stream, "--tick", str(tick), "--sequence", str(sequence),
                     "--file", "-", *options)
        if code != 0:
            return self.esctl("--json", *arguments, stdin=state, code=code)
        return self.one(*arguments, stdin=state)

    def test_a_snapshot_is_bound_to_an_event(self):
        hashes = [self.append(STREAM, "t", str(n), "--tick", str(10 * n))["hash"]
                  for n in (1, 2, 3)]
        saved = self.save(20, 2, state=bytes(range(256)))
        self.assertEqual(list(saved), MEMBERS)
        self.assertEqual({name: saved[name] for name in MEMBERS if name != "created"},
                         {"stream": STREAM, "tick": 20, "sequence": 2, "hash": hashes[1],
                          "projection": "", "version": 0, "bytes": 256, "valid": True})
        path = os.path.join(self.broker.directory.name, "state")
        self.assertEqual(self.one("snapshot", "show", STREAM, "--output", path), saved)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), bytes(range(256)))
        self.assertEqual(self.json("snapshot", "list", STREAM), [saved])

        self.assertEqual(self.save(20, 4, code=1), "")
        self.assertEqual(self.save(20, 1, code=1, stream="prod:main:L0:orders:M1"), "")
        self.assertRegex(self.stderr, r"\Aesctl: .+: .+\n\Z")
        self.assertEqual(self.json("snapshot", "list"), [saved])

    def test_the_newest_at_or_before_a_tick(self):
        for n in (1, 2, 3):
            self.append(STREAM, "t", str(n), "--tick", str(10 * n))
            self.save(10 * n, n, state=b"%d" % n)

        def state(*options):
            return self.esctl("snapshot", "show", STREAM, "--output", "-", *options)

        self.assertEqual(state(), "3")
        self.assertEqual(state("--tick", "30"), "3")
        self.assertEqual(state("--tick", "29"), "2")
        self.assertEqual(state("--tick", "10"), "1")
        self.esctl("snapshot", "show", STREAM, "--tick", "9", code=1)
        self.esctl("snapshot", "show", STREAM, "--projection", "totals", code=1)
        self.esctl("snapshot", "show", "prod:main:L0:orders:M1", code=1)

    def test_projections_are_kept_apart(self):
        self.append()
        self.save(5, 1, state=b"plain")
        named = self.save(5, 1, "--projection", "totals", "--version", "3", state=b"named")
        self.assertEqual((named["projection"], named["version"]), ("totals", 3))
        self.assertEqual(self.esctl("snapshot", "show", STREAM, "--output", "-"), "plain")
        self.assertEqual(self.esctl("snapshot", "show", STREAM, "--projection", "totals",
                                    "--output", "-"), "named")
        self.assertEqual(len(self.json("snapshot", "list", "prod:")), 2)
        self.assertEqual(self.json("snapshot", "list", "test:"), [])
        header, *lines = self.esctl("snapshot", "list").splitlines()
        self.assertEqual((header.split()[0], len(lines)), ("stream", 2))

    def test_deleting(self):
        self.append()
        for tick in (1, 2, 3):
            self.save(tick, 1)
            self.save(tick, 1, "--projection", "totals")
        deleted = self.one("snapshot", "delete", STREAM, "--tick", "2", "--projection", "totals")
        self.assertEqual(deleted, {"stream": STREAM, "deleted": 1})
        self.assertEqual(self.one("snapshot", "delete", STREAM, "--tick", "1")["deleted"], 2)
        self.esctl("snapshot", "delete", STREAM, "--tick", "1", code=1)
        self.assertEqual(self.one("snapshot", "delete", STREAM, "--all")["deleted"], 3)
        self.esctl("snapshot", "delete", STREAM, "--all", code=1)
        self.assertEqual(self.json("snapshot", "list"), [])

    def test_an_empty_and_a_large_state(self):
        self.append()
        self.assertEqual(self.save(1, 1, state=b"")["bytes"], 0)
        large = os.urandom(400000)
        self.assertEqual(self.save(2, 1, state=large)["bytes"], 400000)
        path = os.path.join(self.broker.directory.name, "state")
        self.esctl("snapshot", "show", STREAM, "--output", path)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), large)


class Keys(Case):
    def test_put_get_list_delete(self):
        put = self.one("kv", "put", "config", "colour", "blue")
        self.assertEqual(list(put), ["namespace", "key", "revision", "value"])
        self.assertEqual((put["namespace"], put["key"], put["value"]), ("config", "colour", "blue"))
        self.assertGreater(put["revision"], 0)
        self.assertEqual(self.one("kv", "get", "config", "colour"), put)
        self.assertEqual(self.esctl("kv", "get", "config", "colour"), "blue")
        second = self.one("kv", "put", "config", "colour", "red")
        self.assertGreater(second["revision"], put["revision"])
        third = self.one("kv", "put", "config", "border", "")
        self.assertEqual(self.json("kv", "list", "config"), [third, second])
        self.assertEqual(self.json("kv", "list", "nothing"), [])
        deleted = self.one("kv", "delete", "config", "colour")
        self.assertEqual((deleted["status"], deleted["namespace"], deleted["key"]),
                         ("ok", "config", "colour"))
        self.esctl("kv", "get", "config", "colour", code=1)
        self.assertRegex(self.stderr, r"\Aesctl: .+: .+\n\Z")
        self.esctl("kv", "delete", "config", "colour", code=1)
        self.assertEqual(self.json("kv", "list", "config"), [third])

    def test_the_bytes_are_kept_as_given(self):
        raw = b"\xff\x00\n" + bytes(range(256))
        put = self.one("kv", "put", "n", "raw", "--file", "-", stdin=raw)
        self.assertNotIn("value", put)
        path = os.path.join(self.broker.directory.name, "value")
        with open(path, "wb") as file:
            file.write(raw)
        self.assertEqual(self.one("kv", "put", "n", "copy", "--file", path)["value_base64"],
                         put["value_base64"])
        self.assertEqual(self.one("kv", "put", "n", "dash", "--", "-5")["value"], "-5")
        self.assertEqual(self.one("kv", "put", "n", "json", '{"a":1}')["value"], '{"a":1}')

    def test_a_wrong_revision_is_a_conflict(self):
        first = self.one("kv", "put", "n", "k", "1", "--expect", "none")
        conflict = self.one("kv", "put", "n", "k", "2", "--expect", "none", code=1)
        self.assertEqual(conflict, {"status": "conflict", "namespace": "n", "key": "k",
                                    "expected": "none", "actual_revision": first["revision"]})
        wrong = first["revision"] + 1
        conflict = self.one("kv", "put", "n", "k", "2", "--expect", str(wrong), code=1)
        self.assertEqual(conflict["expected"], wrong)
        self.one("kv", "delete", "n", "k", "--expect", str(wrong), code=1)
        self.assertEqual(self.one("kv", "get", "n", "k"), first)
        second = self.one("kv", "put", "n", "k", "2", "--expect", str(first["revision"]))
        self.one("kv", "delete", "n", "k", "--expect", str(second["revision"]))
        self.assertEqual(self.one("kv", "put", "n", "k", "3", "--expect", "7", code=1)
                         ["actual_revision"], 0)
        self.esctl("kv", "put", "n", "k", "3", "--expect", "7", code=1)
        self.assertRegex(self.stderr, r"\Aesctl: conflict, .+: .+\n\Z")

    def test_read_models_are_a_family_of_their_own(self):
        self.one("kv", "put", "n", "k", "truth")
        self.one("kv", "put", "n", "k", "derived", "--derived")
        self.assertEqual(self.esctl("kv", "get", "n", "k"), "truth")
        self.assertEqual(self.esctl("kv", "get", "n", "k", "--derived"), "derived")
        self.assertEqual(len(self.json("kv", "list", "n", "--derived")), 1)
        self.one("kv", "delete", "n", "k", "--derived")
        self.assertEqual(self.esctl("kv", "get", "n", "k"), "truth")

    def test_names_that_break_a_rule_are_refused(self):
        for words in (("$n", "k"), ("a:b", "k"), ("", "k"), ("n", ""), ("n", "a\nb"),
                      ("n" * 256, "k"), ("n", "k" * 1025)):
            self.esctl("kv", "put", *words, "v", code=65)
        self.assertEqual(self.one("head")["position"], 0)


if __name__ == "__main__":
    unittest.main()
