"""A store that answers wrongly, slowly or not at all: MinIO behind a proxy that goes wrong."""

import time

import data
from harness import Place, expect
from oracle import Repository
from proxy import Proxy, Rule
from stores import S3

# A request may take as long as the client allows: 60 s, in the cases that would wait AWS_TIMEOUT. The client makes it four times at most, none
# later than 30 s after the first, with pauses of together less than 2 s. Above that a pipeline makes each split `attempts` times.
REQUEST, RETRIES, REQUESTS, PAUSES = 60.0, 30.0, 4, 2.0
ATTEMPTS, PAUSE = 2, 0.5
RETRY = f"on_error: {{ retry: {{ attempts: {ATTEMPTS}, delay: 100ms, max_delay: 500ms }} }}\n"
DATASETS = len(data.WRITERS)
# Work itself, on a busy machine.
SLACK = 10.0
# How long a request may take in the cases that would wait for longer.
SHORT = 2.0
# How long one takes that is answered, or cut off, at once.
QUICK = 0.5
FOREVER = 1 << 30


def operation(request):
    """No operation of a store takes longer than this, where a request takes `request` seconds to fail."""
    return min(REQUESTS * request + PAUSES, RETRIES + request)


def bound(request):
    """No run takes longer, however its store fails. Opening is one operation that fails, and a dataset is one for each attempt: the first
    split that is given up ends it, and one more operation may clean up. No two datasets share their time in the worst case."""
    return operation(request) + DATASETS * ATTEMPTS * (2 * operation(request) + PAUSE) + SLACK


def jobs(suite, group):
    """Each fault once, five times and for ever, from a random request on; each wrong answer where it hurts most."""
    rounds = 6 if suite.options.full else 1
    for number in range(rounds):
        for fault in ("500", "503", "slow", "delay", "hang", "refuse", "reset-request", "reset-reply", "drop-reply"):
            for count in (1, 5, FOREVER):
                name = f"{fault} {'for ever' if count == FOREVER else f'{count} times'} {number}"
                yield name, lambda name=name, fault=fault, count=count: random_place(suite, group, name, fault, count)
    for name, rule in EDGES.items():
        yield name, lambda name=name, rule=rule: edge(suite, group, name, rule)
    yield "hang with the defaults", lambda: patience(suite, group, "hang with the defaults")
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


def backed_up(suite, name, rng):
    """A repository behind a proxy, with one snapshot."""
    place = Place(suite, "network")
    proxy = suite.opened(Proxy(suite.minio.port, rng.random()))
    store = S3(suite.minio, proxy.port)
    repo = Repository(place, store, data.Source(place.path("in"), rng, files=2, rows=60), more=RETRY)
    repo.backup()
    repo.examine()
    repo.source.change()
    return place, repo, proxy


def random_place(suite, group, name, fault, count):
    rng = group.random(name)
    place, repo, proxy = backed_up(suite, name, rng)
    with group.case(f"{name}: a backup"):
        before = proxy.requests
        repo.backup()
        repo.examine()
        requests = proxy.requests - before
        repo.source.change()
        proxy.set(Rule(fault, count, after=rng.randrange(requests)))
        attempt(group, repo, proxy, fault, count)
    with group.case(f"{name}: a restore"):
        proxy.set(Rule(fault, count, after=rng.randrange(max(2, requests // 4))))
        restore(group, repo, proxy, fault, count)
    proxy.close()
    place.remove()


def variables(fault):
    waits = fault in ("hang", "slow", "delay")
    return ({"AWS_TIMEOUT": f"{SHORT:.0f} seconds"}, SHORT) if waits else ({}, QUICK)


def attempt(group, repo, proxy, fault, count):
    """The run finishes, or ends with 75 in bounded time and can be taken up."""
    settings, request = variables(fault)
    ran = repo.backup(0, 75, within=bound(request), **settings)
    faults = proxy.set(None)
    repo.place.variables.update(settings)
    if ran.code == 75:
        unreachable(ran, repo)
    else:
        expect(ran.summary()["snapshot"] in repo.examine(), "the snapshot that was reported is not there", ran)
    once = count == 1 and fault != "slow"
    expect(ran.code == 0 or not once, f"one fault ({fault}) ended the run: {faults} were injected", ran)
    group.note("backups finished in spite of it" if ran.code == 0 else "backups ended with 75")
    group.note("faults injected", faults)
    repo.examine()
    repo.rerun() if ran.code else repo.backup()
    repo.examine()


def unreachable(ran, repo):
    """The message names the store, and says that nothing is lost and what to do."""
    ran.says(repo.store.url)
    ran.says("run the same command again", "run again", "resume")


def restore(group, repo, proxy, fault, count):
    settings, request = variables(fault)
    target = repo.place.path("restored")
    command = ["restore", repo.store.url, "--to", target, "--key-file", repo.key_file, "--yes"]
    ran = repo.place.run(*command, within=bound(request), **settings).ends(0, 75)
    faults = proxy.set(None)
    if ran.code == 75:
        ran.says(repo.store.url)
        expect(not (target / "_restow_export.json").exists(), "a restore that failed looks finished", ran)
        ran = repo.place.run(*command).ends(0)
    wrong = data.difference(repo.source.content(), data.read_export(target))
    expect(wrong is None, f"the restore is not identical: {wrong}", ran)
    group.note("faults injected", faults)


def edge(suite, group, name, rule):
    rng = group.random(name)
    place, repo, proxy = backed_up(suite, name, rng)
    with group.case(f"{name}: a backup"):
        proxy.set(rule.again())
        ran = repo.backup(0, 75, within=bound(QUICK))
        faults = proxy.set(None)
        expect(faults, "no fault was injected: this case tests nothing", ran)
        group.note("faults injected", faults)
        new = repo.examine()
        if rule.count == FOREVER:
            # The commit itself may be done all the same, and be listed; then it is whole.
            repo.rerun() if not new else repo.backup()
        else:
            expect(ran.code == 0 and new == [ran.summary()["snapshot"]], f"the run should have finished, and {new} are new", ran)
        repo.examine()
    proxy.close()
    place.remove()


def patience(suite, group, name):
    """A store that takes connections and never answers, with the times that restow has by itself."""
    rng = group.random(name)
    place, repo, proxy = backed_up(suite, name, rng)
    with group.case(f"{name}: catalog list"):
        proxy.set(Rule("hang", FOREVER))
        ran = repo.catalog("catalog", "list", codes=(75,)).within(operation(REQUEST) + SLACK)
        ran.says(repo.store.url)
        group.note(f"catalog list gave up after {ran.seconds:.0f} s")
        proxy.set(None)
        repo.examine()
    proxy.close()
    place.remove()


def outage(suite, group, name):
    """A store that is away for some seconds in the middle of a run: the pipeline's own retries are there for this."""
    rng = group.random(name)
    place, repo, proxy = backed_up(suite, name, rng)
    text = place.path(repo.file).read_text().replace(RETRY, "on_error: { retry: { attempts: 10, delay: 500ms, max_delay: 2s } }\n")
    place.path(repo.file).write_text(text)
    with group.case(f"{name}: a backup"):
        run = repo.start()
        expect(run.until("the intent", lambda: repo.progress().open_runs()), "too fast", "the run ended before its intent was seen")
        proxy.set(Rule("503", FOREVER))
        time.sleep(5)
        faults = proxy.set(None)
        ran = run.end().ends(0)
        group.note("faults injected", faults)
        expect(ran.summary()["snapshot"] in repo.examine(), "the snapshot that was reported is not there", ran)
    proxy.close()
    place.remove()
