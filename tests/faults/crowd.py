"""Many processes on one repository at once."""

import signal
import threading

import data
from harness import Failed, Place, expect
from kills import repository
from oracle import RECOVERY_FILE, Repository
from stops import TRIES
from stores import S3, Local

WRITERS = 20
# Cases of one repository, where there are not so many processes.
ROUNDS = 4
WORKERS = 2


def jobs(suite, group):
    rounds = 5 if suite.options.full else 1
    for word in ("local", "minio"):
        for number in range(rounds):
            for what in (writers, creators, resumers, twins):
                name = f"{what.__name__} {word} {number}"
                yield name, lambda what=what, word=word, name=name: what(suite, group, word, name)


class Reader(threading.Thread):
    """Lists and queries all the time: what is listed stays listed and can be read."""

    def __init__(self, repo, counts):
        super().__init__(daemon=True)
        self.repo, self.counts, self.reads, self.over, self.problem, self.before = repo, counts, 0, threading.Event(), None, set()

    def run(self):
        try:
            while not self.over.is_set():
                ids = self.repo.listed()
                expect(self.before <= set(ids), f"snapshots vanished: {self.before - set(ids)}")
                self.before = set(ids)
                for snapshot in ids[-2:]:
                    ran = self.repo.place.run("catalog", "query", snapshot, "SELECT count(*) AS n FROM items", "-r", self.repo.store.url,
                                              "--key-file", self.repo.key_file, "--format", "csv").ends(0)
                    expect(int(ran.out.split()[1]) in self.counts, f"{snapshot} has a number of rows that no writer has", ran)
                self.reads += 1
        except Exception as error:
            self.problem = error

    def finish(self):
        """Ends it; what it met is a failure of the case."""
        self.over.set()
        self.join()
        if self.problem:
            raise self.problem
        expect(self.reads, "the reader read nothing")


def several(suite, word, rng, count, create_first):
    """`count` repositories that are one: each has a place and a source of its own, all the same address and key."""
    first = Place(suite, "crowd")
    store = Local(first) if word == "local" else S3(suite.minio)
    url = str(store.folder) if word == "local" else store.url
    # One key for all; whoever makes the repository gets the recovery key.
    key = first.path("backup.key")
    sealed = f"  - encrypt: {{ aes-256-gcm: {{ key_file: {key}, create: true, recovery_key_file: {RECOVERY_FILE} }} }}\n"
    found = []
    for number in range(count):
        place = first if number == 0 else Place(suite, "crowd")
        mine = Local(place, url, url=url) if word == "local" else store
        source = data.Source(place.path("in"), rng, files=1, rows=40)
        found.append(Repository(place, mine, source, name=f"writer-{number}", key_file=str(key), sealed=sealed))
    if create_first:
        found[0].backup()
        found[0].examine()
    return found


def writers(suite, group, word, name):
    rng = group.random(name)
    repos = several(suite, word, rng, WRITERS + 1, True)
    watcher = repos.pop(0)
    counts = {len(repo.source.content().datasets["items"]) for repo in [watcher, *repos]}
    with group.case(f"{name}: a reader beside {WRITERS} writers"):
        reader = Reader(watcher, counts)
        reader.start()
        started = [repo.start() for repo in repos]
        ended = [run.end() for run in started]
        reader.finish()
        group.note("reads during the writing", reader.reads)
    made = {}
    for number, (repo, ran) in enumerate(zip(repos, ended)):
        with group.case(f"{name}: writer {number}"):
            snapshot = ran.ends(0).summary()["snapshot"]
            expect(snapshot not in made, f"two writers made {snapshot}", ran)
            made[snapshot] = repo
            watcher.restore(snapshot, repo.source.content())
    with group.case(f"{name}: nothing is lost, nothing doubled"):
        listed = watcher.listed()
        expect(sorted(listed) == sorted([*watcher.known, *made]), f"{len(listed)} snapshots are listed of {len(made) + 1}: {listed}")
    for repo in [watcher, *repos]:
        repo.place.remove()


def creators(suite, group, word, name):
    """Several first runs at once: one repository, and whoever did not get through says so and does the next time."""
    rng = group.random(name)
    for number in range(ROUNDS):
        with group.case(f"{name}: {number}"):
            repos = several(suite, word, rng, 4, False)
            started = [repo.start() for repo in repos]
            ended = [run.end() for run in started]
            expect(any(ran.code == 0 for ran in ended), "none of the creators got through", *ended)
            made = {}
            for repo, ran in zip(repos, ended):
                ran.ends(0, 7, 11)
                group.note(f"creators that ended with {ran.code}")
                ran = ran if ran.code == 0 else repo.backup()
                made[ran.summary()["snapshot"]] = repo.source.content()
            expect(len(made) == len(repos) and sorted(repos[0].listed()) == sorted(made), "not one snapshot a creator")
            for snapshot, content in made.items():
                repos[0].restore(snapshot, content)
        for repo in repos:
            repo.place.remove()


def resumers(suite, group, word, name):
    """Two processes take the same killed run up at the same moment."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    repo.backup()
    repo.examine()
    for number in range(ROUNDS):
        with group.case(f"{name}: {number}"):
            repo.source.change()
            run = killed(repo, rng)
            started = [repo.start(), repo.start()]
            ended = [process.end().ends(0, 11) for process in started]
            new = repo.examine(whole=True)
            expect(run in new and any(ran.code == 0 for ran in ended), f"run {run} was not finished; new are {new}", *ended)
            # Who comes so late that the run is over makes a snapshot of its own.
            allowed = {ran.summary()["snapshot"] for ran in ended if ran.code == 0}
            expect(set(new) == allowed | {run}, f"snapshots {new}, and {allowed} were reported", *ended)
            group.note(f"resumers that ended with {' and '.join(str(ran.code) for ran in ended)}, {len(new)} snapshots")
    place.remove()


def killed(repo, rng):
    """A run with at least one receipt that was killed before its commit; its id."""
    for _ in range(TRIES):
        process, wanted = repo.start(), rng.randint(1, repo.source.splits // 2)
        process.until(f"receipt {wanted}", lambda: repo.under_way(wanted))
        process.signal(signal.SIGKILL)
        process.end()
        run = repo.under_way()
        repo.examine()
        if run:
            return run
        repo.source.change()
    raise Failed(f"{TRIES} runs were too fast to be killed")


def twins(suite, group, word, name):
    """The same command twice at once, as a schedule that overlaps does: every snapshot that is listed was reported, and is whole."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    repo.backup()
    repo.examine()
    for number in range(ROUNDS):
        with group.case(f"{name}: {number}"):
            repo.source.change()
            started = [repo.start(), repo.start()]
            ended = [process.end().ends(0, 11) for process in started]
            reported = {ran.summary()["snapshot"] for ran in ended if ran.code == 0}
            new = repo.examine()
            expect(reported and set(new) == reported, f"snapshots {new}, and {reported} were reported", *ended)
            group.note(f"twins: {len(new)} snapshots")
    place.remove()
