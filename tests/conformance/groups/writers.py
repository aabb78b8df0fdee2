"""A backup while others write: every row in it is one that was there at some moment of it, and what nobody touched is there exactly. One that
settles is that of the moment that it states."""

import datetime
import random
import re
import signal
import threading
import time

import simple
from suite import KEY_FILE, PATIENCE, Vault, expect

# Rows that are there before, and operations during the backup.
ROWS = 6000
OPERATIONS = 1000
THREADS = 4
# A backup of so few rows is quick: it runs in turns of so many seconds, and stands still for so many operations between them.
TURN, BETWEEN = 0.02, 60


def jobs(suite, group):
    for server in suite.servers:
        for number in range(5 if suite.options.full else 1):
            name = f"writers {server.label} {number}"
            yield name, lambda server=server, name=name: writers(suite, group, server, name)
            if suite.database.settled:
                name = f"settled {server.label} {number}"
                yield name, lambda server=server, name=name: writers(suite, group, server, name, suite.database.settled)


class Writer(threading.Thread):
    """Inserts, updates and deletes rows of its own share, and writes down when it began and ended each."""

    def __init__(self, database, server, dataset, seed, ids, over, budget):
        super().__init__(daemon=True)
        self.database, self.server, self.dataset, self.rng, self.ids = database, server, dataset, random.Random(seed), list(ids)
        self.over, self.budget, self.log, self.problem, self.count = over, budget, [], None, 0

    def run(self):
        try:
            while not self.over.is_set() and self.count < self.budget:
                self.one()
                self.count += 1
        except Exception as error:
            self.problem = error

    def one(self):
        kind = self.rng.choice(["insert", "update", "update", "delete"]) if self.ids else "insert"
        row = None
        if kind == "insert":
            ((id, row),) = simple.rows(self.rng, 1, first=self.number()).items()
            self.ids.append(id)
        else:
            id = self.rng.choice(self.ids)
            if kind == "update":
                row = simple.row(self.rng, self.number())
            else:
                self.ids.remove(id)
        began = time.time()
        if row is None:
            self.database.delete(self.server, self.dataset, [id])
        else:
            self.database.put(self.server, self.dataset, {id: row})
        self.log.append((id, row, began, time.time()))

    def number(self):
        return 1_000_000 + self.count


def writers(suite, group, server, name, settled=None):
    database, dataset = suite.database, "Busy"
    rng, vault = group.random(name), Vault(suite, server, "writers")
    before = simple.rows(rng, ROWS)
    database.wipe(server, dataset)
    database.make(server, dataset)
    database.put(server, dataset, before)
    # A third of the rows is touched by nobody.
    ids = sorted(before)
    rng.shuffle(ids)
    over = threading.Event()
    share = len(ids) * 2 // 3 // THREADS
    several = [Writer(database, server, dataset, rng.random(), ids[number * share : (number + 1) * share], over, OPERATIONS // THREADS) for number in range(THREADS)]
    try:
        with group.case(name):
            file = vault.backup_file([dataset], **database.slow, **(settled or {}))
            for one in several:
                one.start()
            began = time.time()
            ran = in_turns(vault.start(file), several)
            ended = time.time()
            over.set()
            for one in several:
                one.join()
            for one in several:
                if one.problem:
                    raise one.problem
            log = [entry for one in several for entry in one.log]
            during = sum(began <= entry[3] and entry[2] <= ended for entry in log)
            group.note("writes during backups", during)
            expect(during >= OPERATIONS * 9 // 10, f"only {during} of {OPERATIONS} writes were made during the backup", ran)
            found = {row["id"]: database.of_export(row) for row in vault.export().get(dataset, [])}
            if settled:
                moment = stated(vault, ran)
                began, ended = moment, moment
            judge(before, log, began, ended, found, ran)
            wrong = simple.difference(final(before, log), database.rows(server, dataset))
            expect(wrong is None, f"the server itself: {wrong}")
    finally:
        over.set()
        database.wipe(server, dataset)
    vault.remove()


def in_turns(run, several):
    """The backup to its end, so slow that all writes fall into it."""
    written = lambda: sum(one.count for one in several)  # noqa: E731
    while run.lives() and any(one.is_alive() for one in several):
        run.signal(signal.SIGSTOP)
        wanted = written() + BETWEEN
        while written() < wanted and any(one.is_alive() for one in several):
            time.sleep(0.001)
        run.signal(signal.SIGCONT)
        time.sleep(TURN)
    return run.end(PATIENCE).ends(0)


def stated(vault, ran):
    """The moment of which a settled snapshot says that it is."""
    shown = vault.place.run("catalog", "show", ran.summary()["snapshot"], "-r", "repo", "--key-file", KEY_FILE, "--json").ends(0)
    found = re.search(r"\bsettled: [^\"]*? at ([0-9T:.+Z-]+)", shown.out)
    expect(found, "the snapshot does not say that it is settled, and of which moment", shown)
    return datetime.datetime.fromisoformat(found[1]).timestamp()


def final(before, log):
    """The rows after all writes. Each id is written by one thread, so its writes are in order."""
    found = dict(before)
    for id, row, _, _ in log:
        if row is None:
            found.pop(id, None)
        else:
            found[id] = row
    return found


def judge(before, log, began, ended, found, ran):
    """Every row of the backup is a version that existed between its start and its end, and no row that always existed is missing."""
    history = {id: [(row, float("-inf"))] for id, row in before.items()}
    for id, row, start, _ in log:
        history.setdefault(id, [(None, float("-inf"))]).append((row, start))
    ends = {}
    for id, _, _, end in log:
        ends.setdefault(id, []).append(end)
    strangers = set(found) - set(history)
    expect(not strangers, f"rows that nobody wrote: {sorted(strangers)[:3]}", ran)
    for id, versions in history.items():
        allowed = []
        for number, (row, start) in enumerate(versions):
            # It existed at the latest until the next write of this id was done.
            until = ends[id][number] if number < len(versions) - 1 else float("inf")
            if start <= ended and until >= began:
                allowed.append(row)
        given = found.get(id)
        if given is None:
            expect(any(row is None for row in allowed), f"{id} was there all the time and is missing; {len(versions) - 1} writes", ran)
        else:
            expect(given in allowed, f"{id} is none of the {len(allowed)} versions that existed during the backup: {given}", ran)
