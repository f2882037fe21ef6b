"""clang-tidy over every C file, with the checks of .clang-tidy and the flags of this build.

A file whose text, headers, flags and checks have not changed since it was last found clean is not
checked again: what it depends on is hashed as the preprocessor sees it."""

import concurrent.futures
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE_DIR = os.environ["ES_SOURCE_DIR"]
BUILD_DIR = os.environ["ES_BUILD_DIR"]
CONFIGS = [os.path.join(SOURCE_DIR, path) for path in (".clang-tidy", "tests/.clang-tidy")]
CLEAN_DIR = os.path.join(BUILD_DIR, "tests", "tidy_clean")

PLANTED = """int planted(const int *number);
int planted(const int *number)
{
    if (number == 0);
    return number == 0 ? *number : 0;
}
"""
PLANTED_CHECKS = ("bugprone-suspicious-semicolon", "clang-analyzer-core.NullDereference")


def commands():
    """One compile command a file; the objects of libraries and tests would else come twice. What
    lies in the build directory is a copy with a mistake planted in it."""
    built = os.path.realpath(BUILD_DIR) + os.sep
    with open(os.path.join(BUILD_DIR, "compile_commands.json"), encoding="utf-8") as file:
        found = {os.path.realpath(entry["file"]): entry for entry in json.load(file)}
    return {path: entry for path, entry in found.items() if not path.startswith(built)}


def fingerprint(entry, checks):
    words = shlex.split(entry["command"])
    words = words[1:] if os.path.basename(words[0]) == "ccache" else words
    output = words.index("-o")
    words = ["clang", *words[1:output], *words[output + 2 :]]
    words[words.index("-c")] = "-E"
    seen = subprocess.run(words, cwd=entry["directory"], capture_output=True, check=False)
    return hashlib.blake2b(checks + seen.stdout + repr(words).encode()).hexdigest()


def tidy(path, *extra):
    command = ["clang-tidy", "--quiet", "-p", BUILD_DIR, path, *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def check(path, entry, checks):
    clean = os.path.join(CLEAN_DIR, fingerprint(entry, checks))
    if os.path.exists(clean):
        return path, 0, ""
    status, output = tidy(path)
    if status == 0:
        with open(clean, "w", encoding="utf-8"):
            pass
    return path, status, output


def planted_is_found():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "planted.c")
        shutil.copy(CONFIGS[0], directory)
        with open(path, "w", encoding="utf-8") as file:
            file.write(PLANTED)
        status, output = tidy(path, "--", "-std=c11")
        return status != 0 and all(check in output for check in PLANTED_CHECKS)


def main():
    if not planted_is_found():
        print("clang_tidy.py: a planted mistake was not found")
        return 1
    os.makedirs(CLEAN_DIR, exist_ok=True)
    checks = b""
    for config in CONFIGS:
        with open(config, "rb") as file:
            checks += file.read()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = commands()
        for path, status, output in pool.map(lambda p: check(p, found[p], checks), sorted(found)):
            if status != 0:
                failed += 1
                print(f"{os.path.relpath(path, SOURCE_DIR)}:\n{output}")
    print(f"{len(found)} files, {failed} with findings")
    return 1 if failed or not found else 0


sys.exit(main())
