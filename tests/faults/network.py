"""A store that answers wrongly, slowly or not at all: MinIO behind a proxy that goes wrong."""

import time

import data
from harness import Place, expect
from oracle import KEY_FILE, Repository
from proxy import Proxy, Rule
from stores import S3

# Most of these cases wait: many at once, beside the other groups.
WORKERS, WAITS = 10, True

# A request fails after 60 s at the latest. The client makes it four times at most, none later than 30 s after the first, with pauses of
# together about 1 s (engine/store/src/location/options.rs). A small object is created by eight of these at most, with pauses of 6.4 s in all,
# none later than 100 s after the first (repository/small.rs). Above that a pipeline makes each split `attempts` times.
REQUEST, RETRIES, REQUESTS, PAUSES = 60.0, 30.0, 4, 1.0
CREATIONS, CREATION_PAUSES, PATIENCE = 8, 6.4, 100.0
ATTEMPTS, PAUSE = 2, 0.5
RETRY = "on_error: {{ retry: {{ attempts: {}, delay: 100ms, max_delay: 500ms }} }}\n"
# How long a request takes that is answered, or cut off, at once.
QUICK = 0.05
# Work itself, on a busy machine.
SLACK = 30.0
FOREVER = 1 << 30
# Which faults are answered by waiting, until the client gives up.
WAITING = ("hang", "slow")


def operation(request):
    """No operation of a store takes longer than this, where a request takes `request` seconds to fail."""
    return min(REQUESTS * request + PAUSES, RETRIES + request)


def creation(request):
    """No creation of a small object takes longer."""
    return min(CREATIONS * operation(request) + CREATION_PAUSES, PATIENCE + operation(request))


def bound(fault):
    """No command takes longer, however its store fails. Opening is an operation; then each dataset fails by itself, one after the other,
    after all attempts to write a split and its receipt. Where requests wait there is one dataset and one attempt, else three and two."""
    request, datasets, attempts = (REQUEST, 1, 1) if fault in WAITING else (QUICK, len(data.WRITERS), ATTEMPTS)
    return operation(request) + datasets * attempts * (operation(request) + creation(request) + PAUSE) + SLACK


def jobs(suite, group):
    """Each fault once, five times and for ever, from a random request on; then each where it hurts most."""
    full = suite.options.full
    for number in range(6 if full else 1):
        # The slow ones first: the others run meanwhile.
        for fault in ("hang", "slow", "delay", "500", "503", "refuse", "reset-request", "reset-reply", "drop-reply"):
            for count in (FOREVER, 1, 5):
                if fault in (*WAITING, "delay") and count == 5 and not full:
                    continue
                name = f"{fault} {'for ever' if count == FOREVER else f'{count} times'} {number}"
                yield f"{name} backup", lambda name=f"{name} backup", fault=fault, count=count: backup(suite, group, name, fault, count)
                yield f"{name} restore", lambda name=f"{name} restore", fault=fault, count=count: restore(suite, group, name, fault, count)
    yield "hang while listing", lambda: patience(suite, group, "hang while listing")
    for name, rule in EDGES.items():
        yield name, lambda name=name, rule=rule: edge(suite, group, name, rule)
    for name, rule in SAID.items():
        yield name, lambda name=name, rule=rule: said(suite, group, name, rule)
    yield "a stranger answers", lambda: stranger(suite, group, "a stranger answers", 30 if full else 5)
    yield "an outage of 5 s", lambda: outage(suite, group, "an outage of 5 s")


EDGES = {
    "the reply of the commit is lost": Rule("drop-reply", 1, "PUT", "/manifest.json"),
    "the reply of the commit is lost again and again": Rule("drop-reply", FOREVER, "PUT", "/manifest.json"),
    "the reply of the intent is lost": Rule("drop-reply", 1, "PUT", "/intent.json"),
    "the replies of all receipts are lost once": Rule("drop-reply", 1, "PUT", "/receipts/", each=True),
    "the replies of all data are lost once": Rule("drop-reply", 1, "PUT", "/data/", each=True),
    "every object needs two attempts": Rule("503", 1, None, "/", each=True),
    "read-back breaks half-way once": Rule("reset-reply", 1, "GET", "/data/"),
    "read-back always breaks": Rule("reset-reply", FOREVER, "GET", "/data/"),
}

SAID = {
    "what is said, away from the start": Rule("503", FOREVER),
    "what is said, away when the intent is written": Rule("503", FOREVER, "PUT", "/intent.json"),
    "what is said, away when data is written": Rule("503", FOREVER, "PUT", "/data/"),
    "what is said, away when receipts are written": Rule("503", FOREVER, "PUT", "/receipts/"),
    "what is said, away when it commits": Rule("503", FOREVER, "PUT", "/manifest.json"),
}


def backed_up(suite, rng, fault=""):
    """A repository behind a proxy, with two snapshots; and how many requests a backup makes."""
    place = Place(suite, "network")
    proxy = suite.opened(Proxy(suite.minio.port, rng.random()))
    waits = fault in WAITING
    source = data.Source(place.path("in"), rng, files=2, rows=60, datasets=["items"] if waits else None)
    repo = Repository(place, S3(suite.minio, proxy.port), source, more=RETRY.format(1 if waits else ATTEMPTS))
    repo.backup()
    repo.examine()
    repo.source.change()
    before = proxy.requests
    repo.backup()
    requests = proxy.requests - before
    repo.examine()
    repo.source.change()
    return place, repo, proxy, requests


def backup(suite, group, name, fault, count):
    """The run finishes, or ends with 75 in bounded time and is taken up once the store is well."""
    rng = group.random(name)
    place, repo, proxy, requests = backed_up(suite, rng, fault)
    with group.case(name):
        proxy.set(Rule(fault, count, after=rng.randrange(requests * 9 // 10)))
        ran = repo.backup(0, 75, within=bound(fault))
        faults = proxy.set(None)
        new = repo.examine()
        if ran.code == 0:
            expect(new == [ran.summary()["snapshot"]], f"reported is one snapshot, new are {new}", ran)
        else:
            # The commit may have been carried out all the same; then it is whole.
            expect(len(new) <= 1, f"new are {new}", ran)
        # What waits for 60 s is not asked again, nor is a reply that breaks off where no split is written.
        may_end = count > 1 or fault in (*WAITING, "reset-reply")
        expect(ran.code == 0 or may_end, f"one fault ended the run: {faults} injected", ran)
        repo.rerun()
        group.note(f"backups ended with {ran.code}")
        group.note("faults injected", faults)
        what = "which waits" if fault in WAITING else "which is answered"
        group.longest(f"longest backup with a fault {what}, in s, of at most {bound(fault):.0f}", ran.seconds)
    proxy.close()
    place.remove()


def restore(suite, group, name, fault, count):
    """The same for a restore into files."""
    rng = group.random(name)
    place, repo, proxy, _ = backed_up(suite, rng, fault)
    [snapshot] = list(repo.known)[-1:]
    target = place.path("restored")
    command = ["restore", repo.store.url, "--to", target, "--snapshot", snapshot, "--key-file", KEY_FILE, "--yes"]
    if fault in WAITING:
        # As a pipeline, which says how often a split is tried: each attempt waits for minutes.
        place.write("restore.yaml", (
            f"version: 1\nname: restore\nstages:\n  - source: {{ repository: {{ url: {repo.store.url!r}, snapshot: {snapshot}, "
            f"unlock: {{ key_file: {KEY_FILE} }} }} }}\n  - sink: {{ files: {{ path: {str(target)!r} }} }}\n{RETRY.format(1)}"))
        command = ["run", "restore.yaml"]
    with group.case(name):
        before = proxy.requests
        place.run("restore", repo.store.url, "--to", place.path("first"), "--snapshot", snapshot, "--key-file", KEY_FILE, "--yes").ends(0)
        proxy.set(Rule(fault, count, after=rng.randrange((proxy.requests - before) * 9 // 10)))
        ran = place.run(*command, within=5 * bound(fault)).ends(0, 75)
        faults = proxy.set(None)
        # What waits for 60 s is not asked again, nor is a reply that breaks off.
        may_end = count > 1 or fault in (*WAITING, "reset-reply")
        expect(ran.code == 0 or may_end, f"one fault ended the restore: {faults} injected", ran)
        group.note(f"restores ended with {ran.code}")
        if ran.code:
            expect(not (target / "_restow_export.json").exists(), "a restore that failed looks finished", ran)
            ran = place.run(*command).ends(0)
        wrong = data.difference(repo.known[snapshot], data.read_export(target))
        expect(wrong is None, f"the restore is not identical: {wrong}", ran)
        group.note("faults injected", faults)
    proxy.close()
    place.remove()


def edge(suite, group, name, rule):
    """One fault at the object where it matters."""
    rng = group.random(name)
    place, repo, proxy, _ = backed_up(suite, rng)
    with group.case(name):
        proxy.set(rule.again())
        ran = repo.backup(0, 75, within=bound(rule.fault))
        faults = proxy.set(None)
        expect(faults, "no fault was injected: this case tests nothing", ran)
        group.note("faults injected", faults)
        new = repo.examine()
        if rule.count == FOREVER:
            expect(len(new) <= 1, f"new are {new}", ran)
        else:
            expect(ran.code == 0 and new == [ran.summary()["snapshot"]], f"the run should have finished, and {new} are new", ran)
        repo.rerun()
    proxy.close()
    place.remove()


def said(suite, group, name, rule):
    """Exit code 75, and a message that names the store, says what is safe, and that the same command goes on."""
    rng = group.random(name)
    place, repo, proxy, _ = backed_up(suite, rng)
    with group.case(name):
        proxy.set(rule.again())
        ran = repo.backup(75, within=bound(rule.fault))
        proxy.set(None)
        new = repo.examine()
        expect(new == [], f"new are {new}", ran)
        repo.rerun()
        last = ran.lines("error")[-1]
        whole = f"{last['message']}; {last['hint']}".lower()
        wanted = {
            "name the store": (repo.store.prefix,),
            "say that the same command goes on": ("again", "resume"),
            "say what is safe": ("nothing was", "untouched", "no data was", "is kept"),
        }
        lacks = [what for what, words in wanted.items() if not any(word in whole for word in words)]
        expect(not lacks, f"the error does not {' nor '.join(lacks)}", ran)
    proxy.close()
    place.remove()


def stranger(suite, group, name, count):
    """Another server answers 200 to everything, as a captive portal does: nothing is taken for done, nothing for damaged for ever."""
    rng = group.random(name)
    place, repo, proxy, requests = backed_up(suite, rng)
    for number in range(count):
        with group.case(f"{name}: {number}"):
            proxy.set(Rule("stranger", rng.choice([1, 3, FOREVER]), after=rng.randrange(requests * 9 // 10)))
            ran = repo.backup(0, 1, 3, 10, 13, 75, within=bound("stranger"))
            proxy.set(None)
            group.note(f"where a stranger answered it ended with {ran.code}")
            repo.examine()
            expect(ran.code or ran.summary()["snapshot"] in repo.known, "the snapshot that was reported is not there", ran)
            repo.backup()
            repo.examine()
            repo.source.change()
    proxy.close()
    place.remove()


def patience(suite, group, name):
    """A store that takes connections and never answers: reading commands give up too."""
    place, repo, proxy, _ = backed_up(suite, group.random(name))
    with group.case(name):
        proxy.set(Rule("hang", FOREVER))
        ran = repo.catalog("catalog", "list", codes=(75,)).within(operation(REQUEST) + SLACK).says(repo.store.url)
        group.note(f"catalog list gave up after {ran.seconds:.0f} s")
        proxy.set(None)
        repo.examine()
    proxy.close()
    place.remove()


def outage(suite, group, name):
    """A store that is away for some seconds in the middle of a run: the pipeline's own retries are there for this."""
    rng = group.random(name)
    place, repo, proxy, _ = backed_up(suite, rng)
    text = place.path(repo.file).read_text().replace(RETRY.format(ATTEMPTS), RETRY.format(10).replace("500ms", "2s"))
    place.path(repo.file).write_text(text)
    with group.case(name):
        rule = Rule("503", FOREVER, "PUT", "/data/")
        proxy.set(rule)
        run = repo.start()
        run.until("a request for data", lambda: rule.injected)
        time.sleep(5)
        faults = proxy.set(None)
        ran = run.end().ends(0)
        group.note("faults injected", faults)
        expect(repo.examine() == [ran.summary()["snapshot"]], "the snapshot that was reported is not there", ran)
    proxy.close()
    place.remove()
