"""A way that is cut, long, narrow or silent; a server that says that it cannot now, or that the key is no longer good; a server that is killed. A
backup and a restore go on where they can, else end clearly, and the same command finishes them; what is there then is compared row by row."""

import contextlib
import time

from doors import HOST, Answer, Desk, Log, Tunnel
from suite import Vault, expect, none

WORD, TARGET = "Fault", "Cut"
FOREVER = 1 << 30
# Retries that outlast what a job does, and such that do not.
PATIENT = {"on_error": {"retry": {"attempts": 30, "delay": "200ms", "max_delay": "2s"}}}
IMPATIENT = {"on_error": {"retry": {"attempts": 2, "delay": "100ms", "max_delay": "200ms"}}}
# A run that nothing brings further shall end, also on a busy machine.
PATIENCE = 400.0


def jobs(suite, group):
    """Each fault in a backup or in a restore, on one of the servers in turns; with --full in both, on each server."""
    full = suite.options.full
    beds = {server.label: Bed(suite, group, server) for server in suite.servers}
    kinds = [(job, what, options) for job, several in ((way, WAYS), (answers, ANSWERS)) for what, options in several.items() if full or not options.get("full")]
    for turn, (job, what, options) in enumerate(kinds):
        for server in suite.servers if full else [suite.servers[turn // 2 % len(suite.servers)]]:
            for one in (Backup, Restore) if full else [(Restore, Backup)[turn % 2]]:
                name = f"{what} {one.word} {server.label}"
                yield name, lambda job=job, one=one, name=name, bed=beds[server.label], options=options: job(suite, group, name, bed, one, **options)
    for server in suite.servers if full else suite.servers[:1]:
        for what, job in (("answers lost", lost), ("a key that expires", expired), ("while it connects", opening)):
            name = f"{what} {server.label}"
            yield name, lambda job=job, name=name, bed=beds[server.label]: job(suite, group, name, bed)
        for what, patient in (("the server is killed", True), ("the server stays away", False)):
            name = f"{what} {server.label}"
            yield name, lambda name=name, server=server, patient=patient: killed(suite, group, name, server, patient)


class Bed:
    """What all jobs of a server share: a fixture, a repository with a backup of it, and how much both directions carry undisturbed."""

    def __init__(self, suite, group, server):
        self.suite, self.group, self.server, self.made, self.count = suite, group, server, None, 0

    def ready(self):
        if self.made is None:
            database = self.suite.database
            made = self.suite.made(self.server, WORD, 21, False, **database.for_kills)
            database.wipe(self.server, TARGET)
            self.vault = Vault(self.suite, self.server, "faults")
            self.snapshot = self.vault.backup(made.names).summary()["snapshot"]
            self.made, self.amounts = made, {}
        return self

    @contextlib.contextmanager
    def case(self, name):
        """A case of the group. What fails may have left the server in another state: then the next job makes all of it anew."""
        with self.group.case(name) as case:
            yield case
        if case.failed:
            self.made = None

    def amount(self, one, tunnel):
        """Bytes of an undisturbed run."""
        if one.word not in self.amounts:
            job = one(self, tunnel.server, PATIENT)
            before = tunnel.carried
            job.run.end(PATIENCE).ends(0)
            self.amounts[one.word] = tunnel.carried - before
            job.check()
        return self.amounts[one.word]

    def requests(self, one, desk):
        """The requests of an undisturbed run, in their order."""
        key = f"requests {one.word}"
        if key not in self.amounts:
            log = Log()
            desk.set(log)
            job = one(self, desk.server, PATIENT)
            job.run.end(PATIENCE).ends(0)
            self.amounts[key] = log.requests
            desk.set(None)
            job.check()
        return self.amounts[key]


class Backup:
    """A backup of the bed by another way, under a name of its own."""

    word = "backup"

    def __init__(self, bed, server, more, small=True):
        self.bed, self.vault, self.server, self.suite = bed, bed.vault, server, bed.suite
        bed.count += 1
        options = self.suite.database.slow if small else {}
        self.known = set(self.vault.snapshots())
        self.file = self.vault.backup_file(bed.made.names, name=f"backup-{bed.count}", server=server, more=more, **options)
        self.run = self.vault.start(self.file)

    def check(self, *shown):
        """One snapshot more, with every row; the server is as it was."""
        bed, database = self.bed, self.suite.database
        new = [id for id in self.vault.snapshots() if id not in self.known]
        expect(len(new) == 1, f"{len(new)} snapshots were made", *shown)
        none(database.row_differences(bed.made.world, self.vault.export(snapshot=new[0])), "the rows of the snapshot are not those of the server", *shown)
        none(database.differences(bed.made.world, database.read(bed.server, WORD)), "the server is not as it was", *shown)

    def unfinished(self, *shown):
        new = [id for id in self.vault.snapshots() if id not in self.known]
        expect(not new, f"a run that failed left the snapshots {new}", *shown)


class Restore:
    """A restore of the bed's backup by another way, under other names."""

    word = "restore"

    def __init__(self, bed, server, more, small=True):
        self.bed, self.vault, self.server, self.suite = bed, bed.vault, server, bed.suite
        bed.count += 1
        self.rename = {one: f"{TARGET}{bed.count}{one}" for one in bed.made.names}
        options = self.suite.database.slow_sink if small else {}
        self.file = self.vault.restore_file(name=f"restore-{bed.count}", server=server, snapshot=bed.snapshot, rename=self.rename, more=more, **options)
        self.run = self.vault.start(self.file)

    def check(self, *shown):
        """Every object with its references and vectors, as two readers see it; and the source is untouched."""
        bed, database = self.bed, self.suite.database
        restored = database.read(bed.server, names=list(self.rename.values()))
        none(database.differences(database.part(bed.made.world, bed.made.names), restored, self.rename), "the restore differs", *shown)
        none(database.confirm(bed.server, restored), "the official client sees something else", *shown)
        database.wipe(bed.server, f"{TARGET}{bed.count}")

    def unfinished(self, *shown):
        """Nothing to be said: what is there is a part."""


def told(ran, server):
    """An end with 75 names the server, and says what to do."""
    ran.ends(75)
    errors = ran.lines("error")
    expect(errors, "there is no error", ran)
    whole = f"{errors[-1]['message']}; {errors[-1].get('hint')}"
    ports = [f"{HOST}:{port}" for _, port in server.addresses]
    expect(any(port in whole for port in ports), f"the error names none of {ports}: {whole}", ran)
    expect("again" in whole, f"the error does not say that the same command goes on: {whole}", ran)


def finish(job, ran, heal):
    """Where it ended with 75, the same command goes on once all is well."""
    if ran.code:
        told(ran, job.server)
        job.unfinished(ran)
        heal()
        ran = job.vault.run(job.file)
        expect(ran.summary()["status"] == "done", "the run is not done", ran)
    job.check(ran)


# ---- TCP


def pause(run, seconds):
    """Some seconds, or until the run ends."""
    until = time.monotonic() + seconds
    while run.lives() and time.monotonic() < until:
        time.sleep(0.02)


def cuts(tunnel, run, times=1):
    for number in range(times):
        tunnel.cut()
        pause(run, 0.4 if number < times - 1 else 0)


def resets(tunnel, run):
    """Every connection is answered by RST for a while, also new ones."""
    tunnel.toxic("reset_peer", timeout=0)
    pause(run, 1.5)
    tunnel.clear()


def holds(tunnel, run):
    """Nothing comes through for some seconds, and then everything: an overloaded way."""
    tunnel.toxic("latency", latency=6000)
    pause(run, 3)
    tunnel.clear()


def swallows(tunnel, run):
    """What is sent vanishes, and after some seconds the connections break."""
    tunnel.toxic("timeout", timeout=0)
    pause(run, 4)
    tunnel.shut()
    tunnel.clear()


def closes(tunnel, run, seconds=10):
    tunnel.shut()
    pause(run, seconds)
    tunnel.reopen()


def silent(tunnel, run):
    """The connections stay open and carry nothing any more; new ones are well."""
    expect(tunnel.silence(), "there was no connection")


# What happens once a part of the bytes has passed; whether it lasts from the beginning; how long the run may wait; the codes.
WAYS = {
    "cut once": {"act": cuts},
    "cut five times": {"act": lambda tunnel, run: cuts(tunnel, run, 5)},
    "reset": {"act": resets},
    "held": {"act": holds},
    "swallowed": {"act": swallows},
    "closed for 10 s": {"act": closes},
    "closed for 10 s, without patience": {"act": closes, "more": IMPATIENT, "codes": (75,)},
    "silent for ever": {"act": silent, "full": True},
    "300 ms away": {"toxic": ("latency", {"latency": 300, "jitter": 50}), "small": False, "full": True},
    "200 KB/s": {"toxic": ("bandwidth", {"rate": 200}), "small": False},
    "in pieces": {"toxic": ("slicer", {"average_size": 400, "size_variation": 200, "delay": 20}), "small": False, "full": True},
}


def way(suite, group, name, bed, one, act=None, toxic=None, more=PATIENT, codes=(0,), small=True, full=False):
    """A fault of the way in the middle, or one that lasts."""
    rng = group.random(name)
    bed.ready()
    tunnel = Tunnel(bed.server)
    try:
        with bed.case(name):
            amount = bed.amount(one, tunnel) if act else 0
            if toxic:
                tunnel.toxic(toxic[0], both=toxic[0] != "latency", **toxic[1])
            began = tunnel.carried
            job = one(bed, tunnel.server, more, small)
            at = rng.uniform(0.25, 0.75) * amount
            if act and job.run.until("its bytes", lambda: tunnel.carried - began >= at):
                act(tunnel, job.run)
                group.note("ways that went wrong in the middle")
            ran = job.run.end(PATIENCE).ends(*codes)
            group.longest(f"longest {one.word}, in s", ran.seconds)
            finish(job, ran, tunnel.clear)
    finally:
        tunnel.close()


# ---- answers


ANSWERS = {
    "429 with Retry-After": {"fault": "429", "retry_after": 1},
    "429 without": {"fault": "429"},
    "503 with Retry-After": {"fault": "503", "retry_after": 1},
    "503 without": {"fault": "503", "retry_after": 0, "full": True},
    "429 three times": {"fault": "429", "count": 3},
    "503 for ever": {"fault": "503", "count": FOREVER, "more": IMPATIENT, "codes": (75,)},
    "429 for ever": {"fault": "429", "count": FOREVER, "more": IMPATIENT, "codes": (75,), "full": True},
}


def answers(suite, group, name, bed, one, fault, count=1, retry_after=None, more=PATIENT, codes=(0,), full=False):
    """The server says that it cannot now, at a random request of the second half: the first ones belong to connecting."""
    rng = group.random(name)
    bed.ready()
    desk = Desk(bed.server, rng.random())
    try:
        with bed.case(name):
            total = len(bed.requests(one, desk))
            rule = Answer(fault, count, after=rng.randrange(total // 2, total * 4 // 5), retry_after=retry_after)
            desk.set(rule)
            job = one(bed, desk.server, more)
            ran = job.run.end(PATIENCE).ends(*codes)
            desk.set(None)
            expect(rule.injected, "nothing went wrong: this case tests nothing", ran)
            group.note("answers that were wrong", rule.injected)
            if retry_after and ran.code == 0:
                expect(ran.seconds >= retry_after, "Retry-After was not waited for", ran)
            finish(job, ran, lambda: None)
    finally:
        desk.close()


def opening(suite, group, name, bed):
    """One 503 at each of the first requests: it goes on, or ends with 75, having changed nothing, and says so."""
    bed.ready()
    desk = Desk(bed.server, 1)
    try:
        for one in (Backup, Restore):
            total = len(bed.requests(one, desk)) // 3
            for after in range(0, total, max(1, total // (10 if suite.options.full else 2))):
                with bed.case(f"{name}: {one.word}, request {after}"):
                    bed.ready()
                    rule = Answer("503", after=after, retry_after=0)
                    desk.set(rule)
                    job = one(bed, desk.server, PATIENT)
                    ran = job.run.end(PATIENCE).ends(0, 75)
                    desk.set(None)
                    expect(rule.injected, "nothing went wrong: this case tests nothing", ran)
                    if ran.code:
                        group.note(f"{one.word}s that one 503 while connecting ended")
                    finish(job, ran, lambda: None)
    finally:
        desk.close()


def lost(suite, group, name, bed):
    """Of every kind of request that changes something two are carried out, and their answers are lost: nothing is written twice."""
    bed.ready()
    desk = Desk(bed.server, 1)
    try:
        with bed.case(name):
            # Two of each kind: the second one may be that of an attempt that repeats the first.
            rule = Answer("drop-reply", 2, each=[f"{TARGET}{bed.count + 1}{one}" for one in bed.made.names], wanted=suite.database.changes)
            desk.set(rule)
            job = Restore(bed, desk.server, PATIENT)
            ran = job.run.end(PATIENCE).ends(0)
            desk.set(None)
            group.note("answers lost", rule.injected)
            expect(rule.injected > 5, f"only {rule.injected} answers were lost", ran)
            finish(job, ran, lambda: None)
    finally:
        desk.close()


def expired(suite, group, name, bed):
    """The key is no longer good from some request on: a clear end, and with a good one the same command goes on."""
    rng = group.random(name)
    bed.ready()
    desk = Desk(bed.server, 1)
    try:
        for one in (Backup, Restore):
            for part in (0.2, 0.4, 0.6, 0.8, 0.95) if suite.options.full else (0.7,):
                with bed.case(f"{name}: {one.word} after {part} of its requests"):
                    bed.ready()
                    total = len(bed.requests(one, desk))
                    rule = Answer("401", FOREVER, after=int(total * rng.uniform(part - 0.1, part)))
                    desk.set(rule)
                    job = one(bed, desk.server, PATIENT)
                    ran = job.run.end(PATIENCE)
                    desk.set(None)
                    expect(rule.injected, "nothing went wrong: this case tests nothing", ran)
                    ran.ends(1).says(*suite.database.key_words)
                    ran.says(*(f"{HOST}:{port}" for _, port in job.server.addresses))
                    expect(rule.injected < 40, f"{rule.injected} requests were made with a key that was refused", ran)
                    job.unfinished(ran)
                    ran = job.vault.run(job.file)
                    expect(ran.summary()["status"] == "done", "the run is not done", ran)
                    job.check(ran)
    finally:
        desk.close()


# ---- the server itself


def killed(suite, group, name, server, patient):
    """SIGKILL of the server in the middle, and a start on the same data. Within the retries the run goes on; else it ends with 75, and the
    same command finishes it."""
    rng = group.random(name)
    vault = Vault(suite, server, "node")
    node = suite.opened(suite.database.node(server.label, vault.place.root / "node"))
    try:
        node.start()
        bed = Bed(suite, group, node.server)
        tunnel = Tunnel(node.server)
        try:
            for one in (Backup, Restore):
                for number in range(4 if suite.options.full else 1):
                    with bed.case(f"{name}: {one.word} {number}"):
                        amount = bed.ready().amount(one, tunnel)
                        began = tunnel.carried
                        job = one(bed, tunnel.server, PATIENT if patient else IMPATIENT)
                        at = rng.uniform(0.2, 0.8) * amount
                        hit = job.run.until("its bytes", lambda: tunnel.carried - began >= at)
                        expect(hit, "it ended before the server was killed")
                        node.kill()
                        if patient:
                            node.start()
                        ran = job.run.end(PATIENCE).ends(0 if patient else 75)
                        group.note("servers killed")
                        if not patient:
                            told(ran, tunnel.server)
                            node.start()
                            job.unfinished(ran)
                        finish(job, ran, lambda: None)
        finally:
            tunnel.close()
    finally:
        node.close()
    vault.remove()


