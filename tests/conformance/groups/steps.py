"""SIGKILL at a certain request of a restore, under every rule about what is there: each kind of request that it makes is one where it dies
once, before the request comes to the server or when it was carried out and nobody heard of it. The same with a restore that is being
taken back (`--fresh`). And a process that stands still while another one finishes its work: it wakes up and writes nothing more."""

import signal

from doors import Answer, Desk, Log, shape
from stores import S3, Minio
from suite import Vault, expect, none

from .kills import RULES, again, settle

FOREVER = 1 << 30
SOURCE, TARGET = "Origin", "Target"
# Which rules change what is there, and so keep it first.
KEPT = [("append", "overwrite"), ("append", "merge"), ("drop", None)]


def jobs(suite, group):
    full = suite.options.full
    for number, rule in enumerate(RULES):
        for server in suite.servers if full else [suite.servers[number % len(suite.servers)]]:
            name = f"{' '.join(filter(None, rule))} {server.label}"
            yield name, lambda server=server, name=name, rule=rule: steps(suite, group, server, name, rule, (9, 4) if full else (1, 1))
    for server in suite.servers if full else suite.servers[:1]:
        name = f"a process that stood still {server.label}"
        yield name, lambda server=server, name=name: woken(suite, group, server, name, 5 if full else 1)


class Ground:
    """A backup, a target as a rule wants it, and a way to the server that sees each request."""

    def __init__(self, suite, group, server, name, rule):
        self.suite, self.group, self.server, self.rule, self.database = suite, group, server, rule, suite.database
        self.rng, self.vault, self.count = group.random(name), Vault(suite, server, "steps"), 0
        self.made = suite.made(server, SOURCE, 31, False, **self.database.for_steps)
        self.rename = {one: one.replace(SOURCE, TARGET, 1) for one in self.made.names}
        self.targets = list(self.rename.values())
        self.snapshot = self.vault.backup(self.made.names).summary()["snapshot"]
        self.there = None
        self.prepare()
        if rule[0] != "create":
            self.there = self.database.read(server, names=self.targets)
        self.expected = self.database.restored(self.database.part(self.made.world, self.made.names), self.there, self.rename, rule)
        self.desk = Desk(server, 1)

    def prepare(self):
        """The target as it is before the restore: the same again each time."""
        self.database.wipe(self.server, TARGET)
        if self.rule[0] == "create":
            return
        self.database.fill(self.server, TARGET, 32, False, **self.database.for_steps)
        if self.rule == ("append", "fail"):
            found = self.database.read(self.server, names=self.targets)
            for dataset, ids in self.database.shared(self.made.world, found, self.rename).items():
                self.database.delete(self.server, dataset, ids)

    def file(self):
        """A pipeline of its own for each attempt."""
        self.count += 1
        mode, conflicts = self.rule
        options = {"mode": mode} | ({"conflicts": conflicts} if conflicts else {}) | ({"safety": {"connection": "backups"}} if self.rule in KEPT else {})
        self.known = set(self.vault.snapshots())
        return self.vault.restore_file(name=f"restore-{self.count}", server=self.desk.server, snapshot=self.snapshot, rename=self.rename, **self.database.slow_sink, **options)

    def killed(self, file, *arguments, fault="drop-reply", count=1, after=0, wanted=None):
        """Runs it until a request, at which it dies; so many requests go wrong. Gives how it ended: with 0 where it had ended before."""
        run = []
        rule = Answer(fault, count, after=after, wanted=wanted and (lambda method, path: wanted(method, path, run[0] if run else None)),
                      called=lambda: run[0].signal(signal.SIGKILL))
        self.desk.set(rule)
        run.append(self.vault.start(file, *arguments))
        ran = run[0].end(300)
        self.desk.set(None)
        expect(ran.code in (0, -9), "neither done nor killed", ran)
        self.group.note("killed" if ran.code else "ended before it could be killed")
        settle()
        return ran

    def logged(self, file, *arguments):
        """The requests of an undisturbed run, each as its shape."""
        log = Log()
        self.desk.set(log)
        ran = self.vault.run(file, *arguments)
        self.desk.set(None)
        self.check(ran)
        return [shape(method, path, self.targets) for method, path in log.requests]

    def check(self, ran, started=True):
        """The target is what the rule says, as two readers see it; what was kept of it is what was there before the first attempt."""
        restored = self.database.read(self.server, names=self.targets)
        none(self.database.differences(self.expected, restored), "the restore differs", ran)
        none(self.database.confirm(self.server, restored), "the official client sees something else", ran)
        kept = [id for id in self.vault.snapshots() if id not in self.known]
        if self.rule in KEPT and started:
            expect(kept, "there is no safety snapshot", ran)
            for id in kept:
                none(self.database.row_differences(self.there, self.vault.export(snapshot=id), times=False), f"safety snapshot {id} is not what was there", ran)
        elif self.rule not in KEPT:
            expect(not kept, f"snapshots were made: {kept}", ran)

    def close(self):
        self.desk.close()
        for prefix in (SOURCE, TARGET):
            self.database.wipe(self.server, prefix)
        self.vault.remove()


def steps(suite, group, server, name, rule, counts):
    ground = Ground(suite, group, server, name, rule)
    try:
        with group.case(f"{name}: undisturbed") as case:
            file = ground.file()
            log = ground.logged(file)
        if case.failed:
            return
        each_step(group, ground, name, log, counts[0])
        undone(group, ground, name, log, counts[1])
    finally:
        ground.close()


def each_step(group, ground, name, log, count):
    """Killed at requests of different shapes, as many as there are, at most `count`."""
    rng, shapes = ground.rng, sorted(set(log))
    for number, one in enumerate(rng.sample(shapes, min(count, len(shapes)))):
        fault = rng.choice(["reset-request", "drop-reply"])
        with group.case(f"{name}: {'before' if fault == 'reset-request' else 'after'} {one}"):
            ground.prepare()
            file = ground.file()
            after = rng.randrange(log.count(one))
            ran = ground.killed(file, fault=fault, after=after, wanted=lambda method, path, _: shape(method, path, ground.targets) == one)
            done = ran.code == 0
            ran = again(ground.vault, file, done, (7,) if ground.rule in (("create", None), ("append", "fail")) else (0,))
            ground.check(ran, not done)


def undone(group, ground, name, log, count):
    """A restore that died half-way is taken back, and that dies too: at any request of it, then once more or not."""
    rng, database = ground.rng, ground.database
    changing = lambda method, path, _: database.changes(method, path)  # noqa: E731
    halfway = max(1, sum(database.changes(*one.split(" ", 1)) for one in log) * 2 // 3)

    def half():
        ground.prepare()
        file = ground.file()
        ran = ground.killed(file, after=halfway, wanted=changing)
        expect(ran.code, "it ended before it could be killed", ran)
        return file

    # Some datasets are changed then, and some are not yet.
    for after in range(1, 3):
        with group.case(f"{name}: taken back from change {after + 1}"):
            ground.prepare()
            file = ground.file()
            expect(ground.killed(file, after=after, wanted=changing).code, "it ended before it could be killed")
            ran = ground.vault.run(file, "--fresh")
            ground.check(ran)
    window = range(0)
    with group.case(f"{name}: taken back, undisturbed"):
        fresh = ground.logged(half(), "--fresh")
        # Both begin with connecting, and end with the same run.
        first = next((number for number, (one, two) in enumerate(zip(log, fresh)) if one != two), 0)
        window = range(first, first + max(1, len(fresh) - len(log)))
    with group.case(f"{name}: taken back, and looked at"):
        # What it says when all is taken back; the next request that changes anything belongs to the run after it.
        word = "put back" if ground.rule in KEPT else ": removed"
        file = half()
        ran = ground.killed(file, "--fresh", fault="reset-request", count=FOREVER,
                            wanted=lambda method, path, run: run is not None and database.changes(method, path) and word in run.printed())
        expect(ran.code, f"it never said {word!r}", ran)
        if ground.there is None:
            expect(not set(ground.targets) & set(database.present(ground.server)), "a dataset that the run had made is still there", ran)
        else:
            none(database.differences(ground.there, database.read(ground.server, names=ground.targets)), "what was taken back is not what was there", ran)
        ground.check(again(ground.vault, file, False))
    for number, at in enumerate(sorted(rng.sample(window, min(count, len(window))))):
        with group.case(f"{name}: taken back, killed at request {at - window.start} of {len(window)}"):
            file = half()
            for _ in range(1 + number % 2):
                ran = ground.killed(file, "--fresh", fault=rng.choice(["reset-request", "drop-reply"]), after=at)
                expect(ran.code, "it ended before it could be killed", ran)
                group.note("killed while it was taken back")
            arguments = ["--fresh"] if number % 2 else []
            ran = ground.vault.run(file, *arguments)
            expect(ran.summary()["status"] == "done", "the run is not done", ran)
            ground.check(ran)


def woken(suite, group, server, name, count):
    """Stopped in the middle of its writing. No lock of this machine tells: the run state is in a store, as for processes on two machines."""
    database, minio = suite.database, Minio()
    ground = None
    try:
        ground = Ground(suite, group, server, name, ("create", None))
        rng, vault = ground.rng, ground.vault
        for number in range(count):
            with group.case(f"{name}: {number}"):
                ground.prepare()
                store = S3(minio)
                vault.place.variables.update(store.variables)
                ground.known = set(vault.snapshots())
                file = vault.restore_file(name=f"still-{number}", server=ground.desk.server, snapshot=ground.snapshot, rename=ground.rename, more={"state": {"url": store.url}}, **database.slow_sink)
                run = []
                rule = Answer("pass", after=rng.randrange(3, 12), wanted=database.changes, called=lambda: run[0].signal(signal.SIGSTOP))
                ground.desk.set(rule)
                run.append(vault.start(file))
                run[0].until("a request at which it stops", lambda: rule.injected)
                expect(rule.injected, "it ended before it was stopped")
                settle()
                ground.desk.set(None)
                second = vault.run(file)
                ground.check(second)
                # Whatever comes now can only come from the one that wakes up.
                database.wipe(server, TARGET)
                log = Log()
                ground.desk.set(log)
                run[0].signal(signal.SIGCONT)
                first = run[0].end(120)
                ground.desk.set(None)
                late = [shape(method, path, ground.targets) for method, path in log.requests if database.changes(method, path)]
                expect(not late, f"it woke up and wrote: {late[:5]}, {len(late)} in all", first)
                expect(not set(ground.targets) & set(database.present(server)), "it woke up and made something", first)
                first.ends(11)
    finally:
        if ground:
            ground.close()
        minio.stop()
