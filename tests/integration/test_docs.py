#!/usr/bin/env python3
"""The documents say what the programs do: counters, reasons and statuses are named once each, links
lead somewhere, and files that are named are there."""

import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib_protocol import Broker  # noqa: E402

SOURCE = os.environ["ES_SOURCE_DIR"]


def text_of(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def documents():
    yield "README.md"
    for directory, _, names in os.walk(os.path.join(SOURCE, "docs")):
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(directory, name), SOURCE)


def table_rows(path, pattern):
    """The first cells of the rows of all tables in a document that match, and how often each."""
    return re.findall(r"^\| *" + pattern, text_of(path), re.M)


def anchors(text):
    """What links into a document may name: its headings, as GitHub and others spell them."""
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        yield kept.replace(" ", "-")


class Documents(unittest.TestCase):
    def test_every_counter_of_status_is_explained_once_and_no_other(self):
        esctl = [os.path.join(os.environ["ES_BUILD_DIR"], "bin", "esctl"), "--run"]
        broker = Broker()
        producer = subprocess.Popen([*esctl, broker.run_dir, "import", "-"], stdin=subprocess.PIPE,
                                    stdout=subprocess.DEVNULL)
        printed = ""
        while '"lanes.0"' not in printed:  # until it has attached
            self.assertIsNone(producer.poll())
            printed = subprocess.run([*esctl, broker.run_dir, "status", "--json"], check=True,
                                     capture_output=True, text=True).stdout
        producer.communicate()
        self.assertEqual((producer.returncode, broker.close()), (0, 0))
        names = [re.sub(r"\d+", "N", name) for name in json.loads(printed)]
        explained = table_rows("docs/counters.md", r"`([\w.]+)`")
        self.assertEqual(sorted(explained), sorted(set(explained)), "explained twice")
        self.assertEqual(sorted(set(names) - set(explained)), [], "not explained")
        self.assertEqual(sorted(set(explained) - set(names)), ["commit_thread"],
                         "explained, but not there; that one stands for lanes that do not answer")

    def test_the_tables_of_reasons_and_statuses_are_those_of_the_code(self):
        for path, prefix in (("shm/codec/reason.h", "ES_REASON_"),
                             ("shm/eventspine_status.h", "ES_")):
            code = re.findall(r"^ *(%s\w+) = (-?\d+)" % prefix, text_of(path), re.M)
            told = [(name, number) for number, name in
                    table_rows("docs/formats.md", r"(-?\d+) \| `(%s\w+)`" % prefix)
                    if name.startswith("ES_REASON_") == (prefix == "ES_REASON_")]
            self.assertEqual(sorted(told), sorted(code))
        texts = dict(re.findall(r'case (ES_REASON_\w+):\s*return "(.*?)";',
                                text_of("shm/codec/reason.c")))
        for name, told in table_rows("docs/formats.md", r"\d+ \| `(ES_REASON_\w+)` \| (.*) \|"):
            self.assertEqual(told, texts[name])

    def test_manual_pages_name_every_option_of_the_help_and_no_other(self):
        for program in ("esbroker", "esbench"):
            path = os.path.join(os.environ["ES_BUILD_DIR"], "bin", program)
            help_text = subprocess.run([path, "--help"], check=True, capture_output=True,
                                       text=True).stdout
            helped = set(re.findall(r"^ +(?:-\S, +|)--([a-z-]+)", help_text, re.M)) - {"usage"}
            page = text_of("tools/man/%s.1" % program).replace("\\-", "-")
            options = page[page.index(".SH OPTIONS"):]
            options = options[:options.index(".SH", 4)]
            named = set(re.findall(r"^\.BI? .*?--([a-z-]+)", options, re.M))
            named |= set(re.findall(r"\\fB--([a-z-]+)", options))
            with self.subTest(program):
                self.assertEqual(named, helped)

    def test_every_link_leads_somewhere(self):
        for path in documents():
            text = re.sub(r"```.*?```", "", text_of(path), flags=re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                there = path
                if name:
                    there = os.path.normpath(os.path.join(os.path.dirname(path), name))
                with self.subTest(document=path, link=target):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, there)))
                    if anchor:
                        self.assertIn(anchor, list(anchors(text_of(there))))

    def test_every_file_that_is_named_is_there(self):
        named = re.compile(r"`((?:shm|broker|libclient|tools|tests|docs)/[\w./-]+)`")
        for path in documents():
            for name in named.findall(text_of(path)):
                with self.subTest(document=path, file=name):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, name)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
