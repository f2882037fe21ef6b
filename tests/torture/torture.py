#!/usr/bin/env python3
"""A real broker, its clients, and death: the broker is killed at random moments and at every probe of
docs/probes.md, producers are killed, stopped, forked and replaced, names are taken over; then a
checker holds what every client has written down against all that is in the store (check.h).

  torture.py [--mode random|points|producers] [--seed S] [--seconds N | --count N] [--point NAME]

random     the broker is killed at random moments; --count: how often
points     at every probe of the broker; --count: how often at each
producers  producers live short lives and end in eight ways; --count: how many
Without a mode: a little of each, and the checker's own trial. --negative: planted faults, and
brokers with a mistake in them, all of which must be found."""
import argparse
import collections
import random
import signal
import subprocess
import sys
import time

import lib_negative
import lib_points
from lib_round import BUILD, Broken, Round

KILLS_A_ROUND = 60
ROUND_SECONDS_MAX = 60
APPENDS_A_SECOND_MIN = 1000
NTH = (1, 1, 1, 2, 5, 20)  # which hit of a probe it is to be
POINT_SECONDS_MAX = 0.7  # for the wanted hit; then it is killed where it is
START_SECONDS_MAX = 0.05  # the same, after "ready"


class Campaign:
    """What all modes share: rounds, one after the other, and what they have counted."""

    def __init__(self, mode, seed, limits):
        self.mode = mode
        self.seed = seed
        self.random = random.Random(seed)
        self.seconds, self.count = limits
        self.begun = time.monotonic()
        self.counts = collections.Counter()
        self.reached = collections.Counter()
        self.round = None
        self.lines = []
        self.plants = None

    def is_over(self, done):
        if self.count is not None:
            return done >= self.count
        return time.monotonic() - self.begun >= self.seconds

    def begin_round(self, with_broker=False, **options):
        self.round = Round(self.random.getrandbits(40), lib_points.PRODUCER, **options)
        if with_broker:
            self.round.start_and_wait()
        self.round.start_clients()

    def end_round(self, herd_is_counted=False):
        self.lines += self.round.finish(self.plants, herd_is_counted)
        for name, number in self.round.counts.items():
            if name.startswith("us_to_next_ack"):
                self.counts[name] = max(self.counts[name], number)
            else:
                self.counts[name] += number
        self.round.clean_up()
        self.round = None
        self.counts["rounds"] += 1

    def round_is_long(self, kills):
        return kills >= KILLS_A_ROUND or time.monotonic() - self.round.begun > ROUND_SECONDS_MAX

    # ---- random ----------------------------------------------------------------

    def kill_at_random(self):
        one = self.round
        one.start_broker()
        one.disturb()
        if self.random.random() < 0.15:  # while it starts
            one.ends_within(self.random.random() * 0.08)
        else:
            if not one.wait_ready():
                raise Broken("the broker did not start")
            one.ends_within(self.random.choice((0.05, 0.2, 0.8)) * self.random.random())
        is_asked = self.random.random() < 0.1
        if is_asked:
            one.broker.send_signal(signal.SIGTERM)
            one.ends_within(self.random.random() * 0.05)
            self.counts["killed while it stops"] += 1
        one.reap(signal.SIGKILL, may_stop=is_asked)
        self.counts["broker kills at random"] += 1

    def run_random(self):
        kills = 0
        while not self.is_over(self.counts["broker kills at random"]):
            if self.round is None:
                self.begin_round()
                kills = 0
            self.kill_at_random()
            kills += 1
            if self.round_is_long(kills):
                self.end_round()
        if self.round is not None:
            self.end_round()

    # ---- points ----------------------------------------------------------------

    def kill_at(self, point, nth):
        """One start that is to end at 'point'. True: it did."""
        one = self.round
        one.start_broker((point, nth))
        one.disturb()
        if not one.wait_ready():
            pass
        elif point in lib_points.BACKUP:
            one.back_up(POINT_SECONDS_MAX)
        elif point in lib_points.STOP:
            one.ends_within(self.random.random() * 0.02)
            one.broker.send_signal(signal.SIGTERM)
            one.ends_within(10)
        else:
            one.ends_within(START_SECONDS_MAX if point in lib_points.START else POINT_SECONDS_MAX)
        if one.broker.poll() == -signal.SIGKILL:
            one.reap()
            self.reached[point] += 1
            return True
        one.reap(signal.SIGKILL, may_stop=point in lib_points.STOP)
        self.counts["not met so often"] += 1
        return False

    def kill_fresh(self, point, nth):
        """A store or its shared memory comes into being; the next start must make do with what is
        there. A few producers then live on it, and the checker looks."""
        one = Round(self.random.getrandbits(40), lib_points.PRODUCER, herd_count=6,
                    herd_per_second=1000)
        self.round = one
        one.start_broker((point, nth))
        herd_begins = point in ("attach_ring_made", "page_ring_entry_set")
        if one.wait_ready() and herd_begins:
            one.start_herd()
            one.ends_within(POINT_SECONDS_MAX)
        if one.broker.poll() is not None or one.ends_within(0.02):
            one.reap()
            self.reached[point] += 1
        else:
            one.reap(signal.SIGKILL)
            self.counts["not met so often"] += 1
        one.start_and_wait()
        if not herd_begins:
            one.start_herd()
        self.end_round(herd_is_counted=True)

    def run_points(self, only=None):
        points = [only] if only else lib_points.SERVING + lib_points.START + lib_points.STOP
        if not only and Round.can_back_up():
            points += lib_points.BACKUP
        fresh = [name for name in lib_points.FRESH if only in (None, name)]
        turn = 0
        while not self.is_over(turn):
            kills = 0
            for point in [name for name in points if name not in fresh]:
                if self.round is None:
                    self.begin_round()
                    kills = 0
                for nth in (self.random.choice(NTH),) + 6 * (1,):
                    kills += 1
                    if self.kill_at(point, nth):
                        break
                if self.round_is_long(kills):
                    self.end_round()
            if self.round is not None:
                self.end_round()
            for point in fresh:
                before = self.reached[point]
                for nth in (self.random.choice(NTH), 1, 1, 1):
                    if self.reached[point] == before:
                        self.kill_fresh(point, nth)
            turn += 1
        self.counts["broker kills at probes"] = sum(self.reached.values())
        self.counts["fewest at a probe"] = min((self.reached[name] for name in points + fresh))

    # ---- producers -------------------------------------------------------------

    def run_producers(self):
        count = self.count if self.count is not None else 1 << 40
        done = 0
        while not self.is_over(done):
            batch = min(count - done, 2000)
            self.begin_round(with_broker=True, herd_count=batch, herd_per_second=300)
            until = self.begun + (self.seconds or 0)
            while self.round.herd.poll() is None and (self.count or time.monotonic() < until):
                if self.round.ends_within(0.1):
                    raise Broken("the broker ended by itself")
                self.round.disturb()
            self.end_round(herd_is_counted=self.round.herd.poll() is not None)
            done += batch

    # ---- one of them -----------------------------------------------------------

    def run(self, point=None):
        try:
            if self.mode == "random":
                self.run_random()
            elif self.mode == "points":
                self.run_points(point)
            else:
                self.run_producers()
        except (Broken, subprocess.SubprocessError, OSError) as error:
            where = self.round.root if self.round is not None else "nothing"
            said = self.round.clean_up(keep=True) if self.round is not None else ""
            more = f" --point {point}" if point else ""
            limit = f"--count {self.count}" if self.count is not None else f"--seconds {self.seconds}"
            print(f"BROKEN ({self.mode}): {error}\n{said}\nkept: {where}\nagain: "
                  f"tests/torture/torture.py --mode {self.mode} --seed {self.seed} {limit}{more}")
            return False
        return True

    def tell(self):
        print(f"{self.mode}: " + ", ".join(f"{name} {round(number, 1)}" for name, number in
                                          sorted(self.counts.items()) if number))
        if self.mode == "points":
            print("at each: " + ", ".join(f"{name} {self.reached[name]}" for name in
                                          lib_points.BROKER))

    def appends_a_second(self):
        return self.counts["sent"] / max(self.counts["seconds"], 1e-3)


def run_one(mode, seed, limits, point=None, is_strict=True):
    """True: it held, and counts."""
    campaign = Campaign(mode, seed, limits)
    held = campaign.run(point)
    campaign.tell()
    rate = campaign.appends_a_second()
    print(f"{mode}: {rate:.0f} appends/s while clients ran", flush=True)
    if rate < APPENDS_A_SECOND_MIN:
        print(f"{mode}: fewer than {APPENDS_A_SECOND_MIN}/s: this run does not count")
        held = held and not is_strict
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("random", "points", "producers"))
    parser.add_argument("--seed", type=lambda text: int(text, 0),
                        default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--count", type=int)
    parser.add_argument("--point", choices=lib_points.BROKER)
    parser.add_argument("--negative", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    differences = lib_points.compare_with_programs()
    results = [not differences]
    if differences:
        print(f"docs/probes.md and the programs differ: {differences}")
    limits = (arguments.seconds or 60, arguments.count)
    if arguments.negative:
        results += lib_negative.run(arguments.seed)
    elif arguments.mode is not None:
        results.append(run_one(arguments.mode, arguments.seed, limits, arguments.point))
    elif arguments.seconds is not None:
        for mode in ("random", "points", "producers"):
            results.append(run_one(mode, arguments.seed, (arguments.seconds / 3, None)))
    else:
        results.append(run_one("random", arguments.seed, (None, 30), is_strict=False))
        results.append(run_one("points", arguments.seed, (None, 1), is_strict=False))
        results.append(run_one("producers", arguments.seed, (None, 500), is_strict=False))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
