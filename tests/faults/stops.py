"""SIGSTOP in the middle and SIGCONT later, also after another process has taken the run over."""

import signal
import time

from harness import Failed, expect
from kills import repository
from oracle import measure

# How long a process stands still.
PAUSE = 2.0
# How many runs may be over before they could be stopped in the middle.
TRIES = 10
# Cases of one repository: listing a large one takes longer than a run.
CHAIN = 5


def jobs(suite, group):
    chains, rounds = (4, CHAIN) if suite.options.full else (1, 3)
    for word in ("local", "minio"):
        for chain in range(chains):
            for what in (pauses, takeovers, fresh):
                name = f"{what.__name__} {word} {chain}"
                yield name, lambda what=what, word=word, name=name: what(suite, group, word, name, rounds)


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
    for _ in range(TRIES):
        process, wanted = repo.start(), rng.randint(1, repo.source.splits // 2)
        process.until(f"receipt {wanted}", lambda: repo.under_way(wanted))
        process.signal(signal.SIGSTOP)
        run = repo.under_way()
        if run:
            return process, run
        # Too fast: it has committed.
        process.signal(signal.SIGCONT)
        process.end().ends(0)
        repo.examine()
        repo.source.change()
    raise Failed(f"{TRIES} runs were too fast to be stopped")


def takeovers(suite, group, word, name, rounds):
    """While one process stands still the same command goes on with its run. Then the first wakes up: there is one snapshot, and each of
    them says that it made it, or that another was faster."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    for number in range(rounds):
        with group.case(f"{name}: {number}"):
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
            second = place.run("run", repo.file, "--json", "--fresh").ends(0)
            new = repo.examine()
            expect(new == [second.summary()["snapshot"]] and run not in new, f"not exactly the new snapshot: {new}", second)
            first.signal(signal.SIGCONT)
            first.end().ends(11)
            expect(repo.examine(whole=True) == [], "the run that was given up made a snapshot")
            repo.source.change()
    place.remove()
