"""Negative controls: faults planted into what the checker reads, and brokers with a mistake in them.
Each must be found; how fast is printed."""
import collections
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

import lib_points
from lib_round import BUILD, SOURCE, Broken, Round

MUTANT_SECONDS_MAX = 120
KILLS_BETWEEN_LOOKS = 6

# (mistake, file, (text, replacement)..., probe to kill at)
MUTANTS = [
    ("acknowledges before the log has it", "broker/committer.c",
     (("    outcome = scribe_write(committer->config.scribe, batch, &previous);\n",
       "    lanes_acknowledge(committer->config.lanes, &batch->progress);\n"
       "    outcome = scribe_write(committer->config.scribe, batch, &previous);\n"),), "lane_acked"),
    ("stores a number of a name that is stored already", "broker/producer_rules.c",
     (("    if (number <= last) {\n", "    if (number <= last && number == 0) {\n"),),
     "commit_acknowledged"),
    ("does not fence a name's earlier owner", "broker/producer_rules.c",
     (("state->owner_incarnation != incoming->incarnation", "state->owner_incarnation == 0"),),
     "attach_entry_set"),
    ("takes over lanes as the control page has them, a batch too early", "broker/startup_replay.c",
     (("        es_last_note(&startup->ahead, &last);\n", ""),), "commit_applied"),
]


def plants(seed):
    """One run in which everything happens; each planted fault is one control."""
    one = Round(seed, lib_points.PRODUCER)
    try:
        one.start_clients()
        for _ in range(12):
            one.start_and_wait()
            one.ends_within(0.25)
            one.kill_the_named()
            one.reap(9)
        planted = [line for line in one.finish(plants=seed) if line.startswith("planted: ")]
    except (Broken, subprocess.SubprocessError, OSError) as error:
        print(f"BROKEN: {error}\n{one.clean_up(keep=True)}\nkept: {one.root}")
        return [False]
    one.clean_up()
    for line in planted:
        print(line)
    return [": caught," in line for line in planted]


def build(tree, directory):
    if not (directory / "build.ninja").exists():
        subprocess.run(["cmake", "-S", str(tree), "-B", str(directory), "-G", "Ninja",
                        "-DES_TESTS=OFF", "-DES_WERROR=OFF"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(directory), "--target", "esbroker"], check=True,
                   stdout=subprocess.DEVNULL)
    return directory / "bin" / "esbroker"


def is_caught(broker, seed, probe):
    """What the checker, or the broker at its next start, has to say of it; None: nothing."""
    source = random.Random(seed)
    until = time.monotonic() + MUTANT_SECONDS_MAX
    counts = collections.Counter()
    while time.monotonic() < until:
        one = Round(source.getrandbits(40), lib_points.PRODUCER, broker=broker)
        try:
            one.start_clients()
            for _ in range(KILLS_BETWEEN_LOOKS):
                one.start_broker((probe, source.choice((5, 20, 50))))
                one.kill_the_named()
                if one.wait_ready():
                    one.take_over(stops=False)
                    one.ends_within(1)
                one.reap(9)
                counts["kills"] += 1
            one.finish()
        except Broken as error:
            one.clean_up()
            return f"{counts['kills']} kills: {str(error).splitlines()[0][:100]}"
        one.clean_up()
    return None


def mutants(seed):
    root = pathlib.Path(tempfile.mkdtemp(prefix="es-"))
    results = []
    tree = root / "tree"
    shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("build", "build-*", ".git"))
    for mistake, file, changes, probe in MUTANTS:
        path = tree / file
        sound = path.read_text(encoding="utf-8")
        broken = sound
        for text, replacement in changes:
            assert broken.count(text) == 1, f"{file} has not once: {text}"
            broken = broken.replace(text, replacement)
        path.write_text(broken, encoding="utf-8")
        broker = build(tree, root / "build")
        begun = time.monotonic()
        said = is_caught(broker, seed, probe)
        path.write_text(sound, encoding="utf-8")
        print(f"mutant: {mistake}, killed at {probe}: " +
              ("NOT CAUGHT" if said is None else
               f"caught after {time.monotonic() - begun:.1f} s, {said}"), flush=True)
        results.append(said is not None)
    shutil.rmtree(root, ignore_errors=True)
    return results


def run(seed):
    assert BUILD.exists()
    return plants(seed) + mutants(seed)
