"""README.md is true: its three programs are taken out of it, compiled with every warning, and run
against a broker; its commands exist."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = os.environ["ES_SOURCE_DIR"]
BUILD_DIR = os.environ["ES_BUILD_DIR"]
STEP_S = 30

with open(os.path.join(SOURCE_DIR, "README.md"), encoding="utf-8") as readme:
    README = readme.read()


class Readme(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def program(self, name):
        """Builds the code block that begins with the comment that names it."""
        code = re.search(r"```c\n(/\* " + name + r"\.c \*/\n.*?)```", README, re.S).group(1)
        lines = [line for line in code.splitlines() if line.strip() not in ("", "{", "}")]
        self.assertLess(len(lines), 30, f"{name} is no longer a short example")
        source = os.path.join(self.directory.name, name + ".c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(code)
        command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
        command += ["-I" + os.path.join(SOURCE_DIR, tree) for tree in ("libclient", "shm")]
        command += [source, "-o", source[:-2], f"-L{BUILD_DIR}/lib", "-leventspine"]
        command += [f"-Wl,-rpath,{BUILD_DIR}/lib"]
        subprocess.run(command, check=True)
        return source[:-2]

    def start_broker(self):
        data, run = (os.path.join(self.directory.name, name) for name in ("data", "run"))
        for path in (data, run):
            os.mkdir(path)
        os.environ["EVENTSPINE_RUN"] = run
        broker = subprocess.Popen(
            [os.path.join(BUILD_DIR, "bin/esbroker"), "--data", data],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(broker.stdout.close)
        self.addCleanup(broker.wait, STEP_S)
        self.addCleanup(broker.terminate)
        self.assertTrue(broker.stdout.readline().startswith("ready"))

    def output(self, *command):
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=STEP_S
        ).stdout

    def test_the_producer_and_the_consumer_do_what_they_show(self):
        producer, consumer = self.program("producer"), self.program("consumer")
        self.start_broker()
        self.assertEqual(self.output(producer), "on disk at position 1\n")
        self.assertEqual(self.output(producer), "on disk at position 2\n")
        self.assertEqual(
            self.output(consumer),
            "1 prod:main:L0:orders:M1042 placed, 8 bytes\n"
            "2 prod:main:L0:orders:M1042 placed, 8 bytes\n",
        )

    def test_a_line_is_stored_once_however_often_its_program_is_run(self):
        once = self.program("once")
        self.start_broker()
        for lines in ("a\nb\n", "a\nb\nc\n", "a\nb\nc\n"):
            told = subprocess.run([once], input=lines, check=True, stdout=subprocess.PIPE,
                                  text=True, timeout=STEP_S).stdout
            self.assertEqual(told, f"{lines.count(chr(10))} lines are on disk\n")
        esctl = os.path.join(BUILD_DIR, "bin/esctl")
        head = self.output(esctl, "head", "prod:main:L0:lines:M1")
        self.assertRegex(head, r"sequence +3\n")

    def test_without_a_broker_they_say_so(self):
        os.environ["EVENTSPINE_RUN"] = self.directory.name
        for name in ("producer", "consumer", "once"):
            done = subprocess.run(
                [self.program(name)], check=False, stderr=subprocess.PIPE, text=True, timeout=STEP_S
            )
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr.startswith(name + ": "))

    def test_the_two_commands_are_on_its_first_screen(self):
        first_screen = "\n".join(README.splitlines()[:24])
        for command in ("./tools/quickstart", "./tests/run"):
            self.assertIn(command, first_screen)

    def test_every_file_it_names_is_there(self):
        named = re.findall(r"\]\(([^)#:]+)\)|`((?:tools|docs|tests|libclient)/[^` ]+)`", README)
        self.assertGreater(len(named), 0)
        for link, path in named:
            self.assertTrue(os.path.exists(os.path.join(SOURCE_DIR, link or path)), link or path)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
