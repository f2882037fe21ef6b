"""The command line without a broker: help, version, options around the verb, exit codes."""

import os
import re
import tempfile
import unittest

from lib_esctl import STREAM, run

VERBS = {
    "append": ("S", "T"), "import": ("-",), "export": (), "read": ("S",), "tail": (), "head": (),
    "streams": (), "producer": ("p",), "producers": (), "snapshot save": ("S",),
    "snapshot show": ("S",), "snapshot list": (), "snapshot delete": ("S",),
    "kv put": ("n", "k", "v"), "kv get": ("n", "k"), "kv delete": ("n", "k"), "kv list": ("n",),
    "verify": (), "status": (), "inspect": (),
    "backup": ("d",), "restore": ("b",), "recover": (),
}


class CommandLine(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.empty = directory.name

    def refused(self, code, *arguments, stdin=b""):
        result = run(*arguments, stdin=stdin)
        self.assertEqual(result.returncode, code, (arguments, result))
        self.assertEqual(result.stdout, b"")
        error = result.stderr.decode()
        self.assertRegex(error, r"\Aesctl: .+: .+\n\Z")
        return error

    def test_help_lists_every_verb_and_every_verb_has_its_own(self):
        overview = run("--help")
        self.assertEqual(overview.returncode, 0)
        for verb in VERBS:
            self.assertRegex(overview.stdout.decode(), r"(?m)^ +" + verb.split()[0] + r" ")
            for spelling in ([*verb.split(), "--help"], ["--json", *verb.split(), "-?"]):
                result = run(*spelling)
                self.assertEqual((result.returncode, result.stderr), (0, b""), spelling)
                text = result.stdout.decode()
                self.assertTrue(text.startswith("Usage: esctl " + verb), text)
                self.assertIn("--run=DIR", text)
                self.assertIn("--timeout=SECONDS", text)
        for group in ("kv", "snapshot"):
            self.assertIn("delete", run(group, "--help").stdout.decode())

    def test_the_manual_names_every_option_and_no_other(self):
        helped = set()
        for verb in VERBS:
            text = run(*verb.split(), "--help").stdout.decode()
            helped |= set(re.findall(r"^ +(?:-\S, +|)--([a-z-]+)", text, re.M))
        path = os.path.join(os.environ["ES_SOURCE_DIR"], "tools", "man", "esctl.1")
        with open(path, encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        self.assertEqual(set(re.findall(r"--([a-z-]+)", page)), helped - {"usage"})
        for verb in VERBS:
            self.assertIn("fB%s" % verb, page)

    def test_version(self):
        for spelling in (["--version"], ["-V"], ["head", "--version"]):
            result = run(*spelling)
            self.assertEqual(result.returncode, 0)
            self.assertRegex(result.stdout.decode(), r"\Aesctl \(Eventspine\) \d+\.\d+\.\d+\n\Z")

    def test_a_wrong_command_line_ends_with_64_and_the_way_out(self):
        for arguments in (
                (), ("nonsense",), ("kv",), ("kv", "nonsense"), ("--nonsense",), ("-x",),
                ("head", "--nonsense"), ("head", "-x"), ("head", "--json=1"), ("head", "--run"),
                ("head", "--run="), ("--run", "", "head"), ("head", STREAM, STREAM),
                ("head", "--timeout", "0"), ("head", "--timeout", "1e3"),
                ("head", "--timeout", " 1"), ("head", "--timeout", "-1"),
                ("head", "--timeout", "1000001"),
                ("head", "not-a-stream"), ("head", "a:b:L01:c:Md"), ("head", "a:b:L0:c:d"),
                ("head", "$a:b:L0:c:Md"),
                ("append",), ("append", STREAM), ("append", STREAM, "t", "extra"),
                ("append", STREAM, "t", "--tick", "-1"), ("append", STREAM, "t", "--tick", "1.0"),
                ("append", STREAM, "t", "--tick", "9223372036854775808"),
                ("append", STREAM, "t", "--tick", ""), ("append", STREAM, "t", "--tick", "0x1"),
                ("append", STREAM, "t", "--expect", "some"),
                ("append", STREAM, "t", "--expect", "01"),
                ("append", STREAM, "t", "--expect-hash", "00"),
                ("append", STREAM, "t", "--expect-hash", "g" * 64),
                ("append", STREAM, "t", "--payload", "1", "--payload-file", "-"),
                ("import",), ("import", "-", "--batch", "0"), ("import", "-", "--batch", "x"),
                ("export", "--stream", "x"), ("export", "--category", STREAM),
                ("export", "--stream", STREAM, "--category", "a:b:L0:c"), ("export", "extra"),
                ("read",), ("read", STREAM, "--all"), ("read", "--all", "--backwards"),
                ("read", STREAM, "--category", "a:b:L0:c"), ("read", STREAM, "--from", "0"),
                ("read", STREAM, "--count", "1x"), ("tail", "--from", "0"), ("tail", "extra"),
                ("streams", "a", "b"), ("streams", "--count", "18446744073709551616"),
                ("snapshot",), ("snapshot", "save", STREAM), ("snapshot", "delete", STREAM),
                ("snapshot", "delete", STREAM, "--all", "--tick", "1"),
                ("snapshot", "save", STREAM, "--tick", "1", "--sequence", "0", "--file", "-"),
                ("snapshot", "show", "not-a-stream"),
                ("kv", "put", "n", "k"), ("kv", "put", "n", "k", "v", "--file", "-"),
                ("kv", "put", "n", "k", "v", "--expect", "0"), ("kv", "get", "n"),
                ("kv", "delete", "n", "k", "--expect", "none"), ("kv", "list"),
                ("verify", "--data", ""), ("verify", "extra"), ("status", "extra")):
            self.refused(64, *arguments)

    def test_the_error_names_the_option_and_what_is_wrong_with_it(self):
        for arguments, error in (
                (("head", "--nonsense"), 'there is no option "--nonsense": see `esctl head --help`'),
                (("--nonsense", "head"), 'there is no option "--nonsense": see `esctl --help`'),
                (("head", "--json=1"), "the option --json takes no argument: see"),
                (("read", STREAM, "--from"), "the option --from lacks its argument N: see"),
                (("read", STREAM, "-f"), "the option --from lacks its argument N: see"),
                (("read", STREAM, "--c", "1"), 'there is no option "--c": see'),
                (("kv", "nonsense"), 'there is no verb "nonsense": see `esctl kv --help`')):
            self.assertIn(error, self.refused(64, *arguments))

    def test_no_broker_ends_with_69_and_names_the_directory(self):
        for verb, words in VERBS.items():
            if verb in ("inspect", "import", "snapshot save", "backup", "restore", "recover"):
                continue
            words = [STREAM if word == "S" else word for word in words]
            options = ["--all"] if verb == "snapshot delete" else []
            error = self.refused(69, *verb.split(), *words, *options, "--run", self.empty,
                                 "--timeout", "0.2")
            self.assertIn(self.empty, error)
        self.refused(69, "import", "-", "--run", self.empty, "--timeout", "0.2")

    def test_the_run_directory_comes_from_the_environment_too(self):
        environment = dict(os.environ, EVENTSPINE_RUN=self.empty)
        result = run("head", "--timeout", "0.2", env=environment)
        self.assertEqual(result.returncode, 69)
        self.assertIn(self.empty, result.stderr.decode())

    def test_a_run_directory_that_is_too_long_for_a_socket_is_refused(self):
        self.refused(64, "head", "--run", "/tmp/" + "x" * 200)

    def test_files_that_are_not_there_end_with_74(self):
        missing = os.path.join(self.empty, "missing")
        self.refused(74, "import", missing)
        self.refused(74, "append", STREAM, "t", "--payload-file", missing)
        self.refused(74, "kv", "put", "n", "k", "--file", missing)
        self.refused(74, "snapshot", "save", STREAM, "--tick", "1", "--sequence", "1", "--file",
                     missing)
        self.refused(74, "verify", "--data", missing)
        self.refused(74, "append", STREAM, "t", "--payload-file", self.empty)

    def test_a_payload_that_is_not_json_ends_with_65(self):
        for payload in ("", "{", "nul", '{"a":1,"a":2}', "1e400", "[1,]", "'a'", '"\\ud800"'):
            self.refused(65, "append", STREAM, "t", "--payload", payload)
        self.refused(65, "append", STREAM, "t", "--payload-file", "-", stdin=b'"\xff"')
        self.refused(65, "append", STREAM, "t", "--payload-file", "-", stdin=b"[" * 3000)
        self.refused(65, "append", STREAM, "t", "--raw", "--payload-file", "-",
                     stdin=b"x" * ((32 << 20) + 1))


if __name__ == "__main__":
    unittest.main()
