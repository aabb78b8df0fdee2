"""SIGSTOP in the middle and SIGCONT later, also after another process has taken the run over."""

import signal
import time

from harness import expect
from kills import repository
from oracle import measure

# How long a process stands still.
PAUSE = 2.0


def jobs(suite, group):
    rounds = 20 if suite.options.full else 3
    for word in ("local", "minio"):
        yield f"pause {word}", lambda word=word: pauses(suite, group, word, f"pause {word}", rounds)
        yield f"takeover {word}", lambda word=word: takeovers(suite, group, word, f"takeover {word}", rounds)
        yield f"fresh {word}", lambda word=word: fresh(suite, group, word, f"fresh {word}", rounds)


def pauses(suite, group, word, name, rounds):
    """A machine that sleeps for a while."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    seconds = measure(repo, 1)
    for number in range(rounds):
        with group.case(f"{name}: {number}"):
            repo.source.change()
            run = repo.start()
            time.sleep(rng.uniform(0, seconds))
            run.signal(signal.SIGSTOP)
            time.sleep(PAUSE)
            repo.examine()
            run.signal(signal.SIGCONT)
            ran = run.end().ends(0)
            expect(ran.summary()["snapshot"] in repo.known or ran.summary()["snapshot"] in repo.examine(), "the snapshot is not there", ran)
            group.note("paused for more than half of the pause", ran.seconds > PAUSE / 2)
    place.remove()


def stopped(repo, rng):
    """A run that stands still with some of its splits written, and its id."""
    run = repo.start()
    wanted = rng.randint(1, repo.source.splits - 3)
    enough = lambda: any(repo.progress().finished(open_run) >= wanted for open_run in repo.progress().open_runs())
    if not run.until(f"receipt {wanted}", enough):
        run.end().ends(0)
        return None, None
    run.signal(signal.SIGSTOP)
    runs = repo.progress().open_runs()
    if not runs:
        run.signal(signal.SIGCONT)
        run.end().ends(0)
        return None, None
    return run, runs[-1]


def takeovers(suite, group, word, name, rounds):
    """While one process stands still the same command goes on with its run. Then the first wakes up: there is one snapshot, and each of
    them says that it made it, or that another was faster."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    for number in range(rounds):
        with group.case(f"{name}: {number}"):
            first, run = stopped(repo, rng)
            while first is None:
                repo.examine()
                group.note("runs that were too fast to be stopped")
                first, run = stopped(repo, rng)
            second = repo.backup()
            expect(second.summary()["resumed"] and second.summary()["snapshot"] == run, f"run {run} was not taken up", second)
            expect(repo.examine() == [run], "not exactly one snapshot", second)
            first.signal(signal.SIGCONT)
            ran = first.end().ends(0, 11)
            expect(ran.code == 11 or ran.summary()["snapshot"] == run, f"reports another snapshot than {run}", ran)
            expect(repo.examine(whole=True) == [], "a second snapshot came of the same run", ran)
            group.note(f"the process that was stopped ended with {ran.code}")
            repo.source.change()
    place.remove()


def fresh(suite, group, word, name, rounds):
    """The same, but the second process gives the first run up and makes one of its own: the first must not commit."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    for number in range(rounds):
        with group.case(f"{name}: {number}"):
            first, run = stopped(repo, rng)
            while first is None:
                repo.examine()
                first, run = stopped(repo, rng)
            second = place.run("run", repo.file, "--json", "--fresh").ends(0)
            new = repo.examine()
            expect(new == [second.summary()["snapshot"]] and run not in new, f"not exactly the new snapshot: {new}", second)
            first.signal(signal.SIGCONT)
            first.end().ends(11)
            expect(repo.examine(whole=True) == [], "the run that was given up made a snapshot")
            repo.source.change()
    place.remove()
