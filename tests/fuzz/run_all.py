#!/usr/bin/env python3
"""Every fuzz target for its share of the time, from the committed corpus and a seed of its own.

  run_all.py [--seed S] [--seconds N] [--only NAME]...

The targets are those of the preset clang-fuzz; ES_FUZZ_DIR names another build. What is found lies in
the working directory as crash-*, timeout-* or oom-*, and is replayed by giving it to its target.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TARGETS = pathlib.Path(os.environ.get("ES_FUZZ_DIR", SOURCE / "build-fuzz")) / "tests" / "fuzz"
EXECUTIONS = re.compile(r"stat::number_of_executed_units: *(\d+)")
RESIDENT = re.compile(r"stat::peak_rss_mb: *(\d+)")
RSS_MIB_MAX = 256
# Freed memory that AddressSanitizer holds back, 256 MiB else, is not the target's.
ENVIRONMENT = {"ASAN_OPTIONS": "quarantine_size_mb=32", **os.environ}


def fuzz(target, seed, seconds):
    """How many inputs were tried, the largest memory in MiB, and whether nothing was found."""
    corpus = SOURCE / "tests" / "corpus" / target.name.removeprefix("fuzz_")
    with tempfile.TemporaryDirectory() as fresh:
        command = [target, f"-seed={seed & 0x7fffffff}", f"-max_total_time={seconds}",
                   f"-rss_limit_mb={RSS_MIB_MAX}", "-timeout=10", "-print_final_stats=1", fresh]
        command += [corpus] if corpus.is_dir() else []
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=ENVIRONMENT, check=False)
    tried = EXECUTIONS.search(done.stdout)
    resident = RESIDENT.search(done.stdout)
    if done.returncode != 0:
        print(done.stdout[-4000:])
    return (int(tried[1]) if tried else 0, int(resident[1]) if resident else 0,
            done.returncode == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=1)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    targets = sorted(path for path in TARGETS.glob("fuzz_*") if os.access(path, os.X_OK) and
                     (not arguments.only or path.name.removeprefix("fuzz_") in arguments.only))
    if not targets:
        sys.exit(f"no fuzz targets in {TARGETS}: cmake --preset clang-fuzz && "
                 "cmake --build --preset clang-fuzz")
    print(f"fuzz: seed {arguments.seed:#x}")
    failed = 0
    for target in targets:
        tried, resident, is_sound = fuzz(target, arguments.seed,
                                         max(1, arguments.seconds // len(targets)))
        failed += not is_sound
        print(f"  inputs tried by {target.name}: {tried}", flush=True)
        if resident > RSS_MIB_MAX:
            print(f"{target.name} took {resident} MiB")
            failed += 1
    print(f"{len(targets) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
