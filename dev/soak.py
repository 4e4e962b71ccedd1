#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the integration tests again and again, in random order: dev/sandbox.sh dev/soak.py ROUNDS [NAME]

NAME restricts the tests to those whose name contains it. Every second round runs beside a busy loop on each
core. `make soak` builds the tests first and makes the sandbox.

libtest sorts the tests that it is given by name, so a shuffled list is run in batches. What ran is written to
target/soak/state/<NAME or "all"> test by test: an interrupted run goes on where it stopped, with the tests of
the round that have no result yet. Another number of rounds, or `make soak-reset`, begins anew.

target/soak/log        a line for each failed test, and one for each round
target/soak/failures/  the end of each failed test's output

RUST_TEST_THREADS  tests that run at the same time
SOAK_SEED          the seed of the first round (default: random)
SOAK_BATCH         tests per batch (default 40)
SOAK_LIMIT         seconds after which a batch is killed (default 1800)
"""

import collections
import ctypes
import datetime
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOAK = ROOT / "target" / "soak"
BATCH = int(os.environ.get("SOAK_BATCH", "40"))
LIMIT = float(os.environ.get("SOAK_LIMIT", "1800"))
# Lines of a failed test's output that are kept.
KEPT = 300
RESULT = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)")
SECTION = re.compile(r"^---- (\S+) stdout ----$")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def log(text):
    line = f"{now()} {text}"
    print(f"soak: {line}", flush=True)
    with open(SOAK / "log", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def build():
    """The test program and the manager, which `make soak` has built."""
    command = ["cargo", "test", "--offline", "--workspace", "--test", "integration", "--no-run"]
    command += ["--message-format=json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found = {}
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    return found["integration"], found["aibrix-controller-manager"]


def tests_of(program, name):
    """All tests whose name contains `name`, without those that are ignored."""

    def listed(*further):
        command = [program, "--list", "--format=terse", *further, *([name] if name else [])]
        output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        return {line.removesuffix(": test") for line in output.splitlines() if line.endswith(": test")}

    return sorted(listed() - listed("--ignored"))


def burn(parent, until):
    while time.monotonic() < until and os.getppid() == parent:
        sum(range(10_000))


class BusyLoop:
    """Keeps every core busy while it is entered; ends by itself when a batch takes too long."""

    def __enter__(self):
        args = (os.getpid(), time.monotonic() + LIMIT)
        fork = multiprocessing.get_context("fork")
        self.loops = [fork.Process(target=burn, args=args) for _ in range(os.cpu_count())]
        for loop in self.loops:
            loop.start()

    def __exit__(self, *_):
        for loop in self.loops:
            loop.terminate()
            loop.join()


class Idle:
    """Nothing runs beside."""

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def adopt_orphans():
    """Makes this process the parent of whatever its children leave behind. Linux only."""
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def end_orphans():
    """Ends what a batch left: control planes that tests share live as long as their process, and would answer at
    the addresses of the next batch."""
    while True:
        children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if not children:
            return
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        for child in children:
            os.waitpid(int(child), 0)


def run_batch(program, tests, on_result):
    """Runs these tests; answers the output of each that failed, by name, and whether it was interrupted."""
    started = time.monotonic()
    process = subprocess.Popen(
        [program, "--exact", *tests], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )
    killer = threading.Timer(LIMIT, process.kill)
    killer.start()
    left, failed, sections, current = set(tests), set(), {}, None
    tail = collections.deque(maxlen=KEPT)
    try:
        for line in process.stdout:
            line = line.rstrip("\n")
            tail.append(line)
            section = SECTION.match(line)
            result = RESULT.match(line)
            if section:
                current = sections.setdefault(section[1], collections.deque(maxlen=KEPT))
            elif line == "failures:":
                current = None
            elif current is not None:
                current.append(line)
            elif result and result[1] in left:
                left.discard(result[1])
                # At once: what has failed is not run again, whatever comes.
                on_result(result[1], result[2])
                if result[2] == "FAILED":
                    failed.add(result[1])
        code = process.wait()
    except KeyboardInterrupt:
        code = None
    finally:
        killer.cancel()
        process.kill()
        process.wait()
    why = f"no result: the batch ended with {code} after {time.monotonic() - started:.0f} s"
    outputs = {name: list(sections.get(name, [])) for name in sorted(failed)}
    if code is not None:
        outputs |= {name: [*tail, why] for name in sorted(left)}
    return outputs, code is None


def reason(lines):
    """The line that says most about why a test failed."""
    for at, line in enumerate(lines):
        if "panicked at" in line and at + 1 < len(lines):
            return lines[at + 1].strip()[:200]
    said = [line for line in lines if line.strip()]
    return said[-1].strip()[:200] if said else "no output"


class State:
    """What ran in which round, test by test."""

    def __init__(self, rounds, name):
        self.folder = SOAK / "state" / (re.sub(r"\W+", "_", name) or "all")
        plan = self.folder / "plan.json"
        self.plan = json.loads(plan.read_text()) if plan.exists() else {}
        if self.plan.get("rounds") != rounds:
            self.forget()
            seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
            self.plan = {"rounds": rounds, "name": name, "seeds": [seed + n for n in range(rounds)]}
            self.write_plan()

    def write_plan(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / "plan.new"
        new.write_text(json.dumps(self.plan))
        new.replace(self.folder / "plan.json")

    def forget(self):
        for file in self.folder.glob("*"):
            file.unlink()

    def results(self, number):
        """Result by test of a round; a line that was cut by an interruption counts for nothing."""
        file = self.folder / f"round-{number}"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split(" ")[::-1] for line in lines if re.fullmatch(r"(ok|FAILED|ignored) \S+", line))

    def record(self, number, name, result):
        with open(self.folder / f"round-{number}", "a", encoding="utf-8") as file:
            file.write(f"\n{result} {name}\n")


def digest(paths):
    found = hashlib.sha256()
    for path in paths:
        found.update(pathlib.Path(path).read_bytes())
    return found.hexdigest()[:12]


def run_round(state, number, program, tests):
    seed = state.plan["seeds"][number]
    busy = number % 2 == 1
    title = f"round {number + 1} of {state.plan['rounds']}, seed {seed}, {'busy' if busy else 'idle'}"
    order = list(tests)
    random.Random(seed).shuffle(order)
    done = state.results(number)
    if all(test in done for test in order):
        return
    left = [test for test in order if test not in done]
    print(f"soak: {now()} {title}: {len(left)} of {len(order)} tests to run", flush=True)
    started = time.monotonic()
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        with BusyLoop() if busy else Idle():
            record = functools.partial(state.record, number)
            failures, interrupted = run_batch(program, batch, record)
        end_orphans()
        for test, lines in failures.items():
            file = SOAK / "failures" / f"{seed}-{test.replace('::', '-')}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            log(f"{title}: FAILED {test}: {reason(lines)} ({file.relative_to(ROOT)})")
            state.record(number, test, "FAILED")
        if interrupted:
            raise KeyboardInterrupt
    results = state.results(number)
    failed = sum(results.get(test) == "FAILED" for test in order)
    minutes = (time.monotonic() - started) / 60
    log(f"{title}: {len(order)} tests, {failed} failed; {minutes:.1f} minutes since the last start")


def main():
    if len(sys.argv) not in (2, 3) or not sys.argv[1].isdigit() or sys.argv[1] == "0":
        sys.exit("usage: dev/sandbox.sh dev/soak.py ROUNDS [NAME]")
    rounds, name = int(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else ""
    programs = build()
    tests = tests_of(programs[0], name)
    if not tests:
        sys.exit(f"soak: no test's name contains {name!r}")
    SOAK.mkdir(parents=True, exist_ok=True)
    adopt_orphans()
    state = State(rounds, name)
    builds = state.plan.setdefault("builds", [])
    if builds[-1:] != [digest(programs)]:
        builds.append(digest(programs))
        state.write_plan()
        which = f"tests named {name}" if name else "all tests"
        log(f"{which}: {len(tests)} tests, {rounds} rounds, build {builds[-1]}")
    for number in range(rounds):
        run_round(state, number, programs[0], tests)
    results = [pair for number in range(rounds) for pair in state.results(number).items()]
    counts = collections.Counter(test for test, result in results if result == "FAILED")
    print(f"soak: {rounds} rounds of {len(tests)} tests, {sum(counts.values())} failures")
    for test, count in counts.most_common():
        print(f"soak: failed {count} times: {test}")
    if len(builds) > 1:
        print(f"soak: {len(builds)} builds took part; `make soak-reset` begins anew")
    sys.exit(1 if counts else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("soak: interrupted; the same command goes on from here")
