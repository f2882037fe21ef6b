"""A stranger's view of the installed copy: installed to an empty prefix, found by pkg-config and by
find_package(), used as C11 and as C++17, shared and static; only es_ symbols come out of it."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = os.environ["ES_SOURCE_DIR"]
BUILD_DIR = os.environ["ES_BUILD_DIR"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]

# Calls what needs no broker; the closing calls accept NULL.
PROGRAM = r"""
#include <eventspine.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct es_connection_options options;
    struct es_connection *connection = 0;

    memset(&options, 0, sizeof options);
    options.run_dir = "/nonexistent";
    if (es_connection_open(&options, &connection) != ES_OK) {
        return 1;
    }
    printf("%s\n%s\n", es_version(), es_connection_run_dir(connection));
    es_connection_close(connection);
    es_producer_close(0);
    es_reader_close(0);
    es_consumer_close(0);
    return es_status_text(ES_FULL) == 0;
}
"""

CMAKE = """
cmake_minimum_required(VERSION 3.25)
project(stranger C)
find_package(eventspine 0.1 REQUIRED)
foreach(kind eventspine static)
    add_executable(with_${kind} program.c)
    target_link_libraries(with_${kind} eventspine::${kind})
endforeach()
"""


def run(*command, **options):
    """Its output; an exit code that is not 0 fails the test with everything it said."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}")
    return done.stdout


class InstalledCopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.prefix = os.path.join(cls.directory.name, "prefix")
        run("cmake", "--install", BUILD_DIR, "--prefix", cls.prefix)
        cls.library_dir = os.path.dirname(cls.only("lib/**/libeventspine.a"))
        cls.environment = dict(
            os.environ,
            PKG_CONFIG_PATH=os.path.join(cls.library_dir, "pkgconfig"),
            LD_LIBRARY_PATH=cls.library_dir,
        )
        for name in ("program.c", "program.cpp"):
            with open(os.path.join(cls.directory.name, name), "w", encoding="utf-8") as file:
                file.write(PROGRAM)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def only(cls, pattern):
        found = glob.glob(os.path.join(cls.prefix, pattern), recursive=True)
        if len(found) != 1:
            raise AssertionError(f"{pattern} is there {len(found)} times in the prefix")
        return found[0]

    def flags(self, *options):
        return run("pkg-config", *options, "eventspine", env=self.environment).split()

    def exported(self):
        library = os.path.join(self.library_dir, "libeventspine.so")
        symbols = run("nm", "-D", "--defined-only", library)
        return {line.split()[2] for line in symbols.splitlines()}

    def build_and_run(self, compiler, source, options):
        program = os.path.join(self.directory.name, "program")
        source = os.path.join(self.directory.name, source)
        run(*compiler, *WARNINGS, source, "-o", program, *options)
        self.assertEqual(
            run(program, env=self.environment),
            f"eventspine {self.flags('--modversion')[0]}\n/nonexistent\n",
        )
        return program

    def test_a_c11_program_builds_with_pkg_config(self):
        program = self.build_and_run(
            ["gcc", "-std=c11", "-pedantic", "-Wshadow"], "program.c", self.flags("--cflags", "--libs")
        )
        self.assertRegex(run("readelf", "-d", program), r"NEEDED.*libeventspine\.so\.0\]")

    def test_a_cpp17_program_builds_with_pkg_config(self):
        self.build_and_run(
            ["g++", "-std=c++17", "-pedantic"], "program.cpp", self.flags("--cflags", "--libs")
        )

    def test_the_archive_links_with_what_pkg_config_says_for_static(self):
        flags = self.flags("--cflags", "--static", "--libs")
        at = flags.index("-leventspine")
        flags[at : at + 1] = ["-Wl,-Bstatic", "-leventspine", "-Wl,-Bdynamic"]
        program = self.build_and_run(["gcc", "-std=c11"], "program.c", flags)
        self.assertNotIn("libeventspine", run("readelf", "-d", program))

    def test_a_cmake_project_finds_both_libraries(self):
        project = os.path.join(self.directory.name, "project")
        os.mkdir(project)
        for name, text in (("CMakeLists.txt", CMAKE), ("program.c", PROGRAM)):
            with open(os.path.join(project, name), "w", encoding="utf-8") as file:
                file.write(text)
        run("cmake", "-S", project, "-B", project + "/out", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", project + "/out")
        for kind in ("eventspine", "static"):
            self.assertIn("eventspine 0.", run(f"{project}/out/with_{kind}", env=self.environment))

    def test_only_es_symbols_are_exported(self):
        self.assertEqual([name for name in self.exported() if not name.startswith("es_")], [])

    def test_every_function_of_the_header_is_exported_and_nothing_else(self):
        declared = set()
        for header in ("eventspine.h", "eventspine_producer.h", "eventspine_status.h"):
            with open(self.only("include/" + header), encoding="utf-8") as file:
                declared |= set(re.findall(r"ES_API[^;{]*?\b(es_\w+)\s*\(", file.read()))
        self.assertEqual(self.exported(), declared)

    def test_the_shared_library_has_a_soname_and_its_links(self):
        library = os.path.realpath(os.path.join(self.library_dir, "libeventspine.so"))
        version = self.flags("--modversion")[0]
        self.assertEqual(os.path.basename(library), f"libeventspine.so.{version}")
        self.assertRegex(run("readelf", "-d", library), r"SONAME.*\[libeventspine\.so\.0\]")
        self.assertTrue(os.path.exists(os.path.join(self.library_dir, "libeventspine.so.0")))

    def test_the_library_needs_only_what_encodes_and_hashes(self):
        library = os.path.join(self.library_dir, "libeventspine.so")
        needed = run("readelf", "-d", library)
        names = set(re.findall(r"NEEDED.*\[lib(\w+)", needed))
        self.assertLessEqual(names, {"c", "b2", "msgpack", "msgpackc", "pthread"})

    def test_programs_are_hardened_and_know_their_version(self):
        for name in ("esbroker", "esctl", "esbench"):
            program = self.only("bin/" + name)
            self.assertIn(self.flags("--modversion")[0], run(program, "--version"))
            self.assertIn("DYN", run("readelf", "-h", program))
            self.assertRegex(run("readelf", "-d", program), r"BIND_NOW|FLAGS_1.*NOW")
            self.assertIn("GNU_RELRO", run("readelf", "-lW", program))
            self.assertIn("__stack_chk_fail", run("nm", "-D", program))

    def test_man_pages_are_installed_and_well_formed(self):
        for page in ("man1/esbroker.1", "man1/esctl.1", "man1/esbench.1", "man7/eventspine.7"):
            path = self.only("share/man/" + page)
            self.assertTrue(os.path.exists(os.path.join(SOURCE_DIR, "tools/man", page[5:])))
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
                if section != "SYNOPSIS" or page.endswith(".1"):
                    self.assertIn(f"\n.SH {section}\n", text, path)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
