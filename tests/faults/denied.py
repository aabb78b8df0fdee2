"""Targets that may not be written, from the start or from some moment on, and disks with errors."""

import os
import shutil
import stat

import data
import mounts
from disk import export
from harness import AS_USER, Failed, Place, expect
from kills import repository
from oracle import KEY_FILE, Repository
from stores import Local

# How long a run may take to notice.
BOUND = 30.0
SIZE = 64 << 20
# Slow enough that something can be changed while it runs.
SLOW = "write:*=delay(20ms)"
# How many runs may be over before they were seen in the middle: they take a third of a second, and this process may have to wait longer for a processor.
TRIES = 10
DENIED = ("permission", "denied", "read-only")


def jobs(suite, group):
    full = suite.options.full
    if suite.can_mount:
        yield "read-only repository", lambda: read_only_repository(suite, group, "read-only repository", 20 if full else 3)
        yield "read-only export", lambda: read_only_export(suite, group, "read-only export")
    else:
        print("!!!! MOUNTS ARE NOT PERMITTED HERE: read-only targets are made by permissions only", flush=True)
    yield "permission lost", lambda: permission_lost(suite, group, "permission lost", 20 if full else 3)
    yield "permission missing", lambda: permission_missing(suite, group, "permission missing")
    yield "credentials lost", lambda: credentials(suite, group, "credentials lost")
    yield "errors of the disk, repository", lambda: errors(suite, group, "errors of the disk, repository", 120 if full else 12)
    yield "errors of the disk, export", lambda: export_errors(suite, group, "errors of the disk, export", 60 if full else 6)


def refused(ran, *named):
    """Exit code 1 in bounded time, and a message that names what may not be written."""
    ran.ends(1).within(BOUND).says(*DENIED)
    if named:
        ran.says(*named)


def in_the_middle(repo, rng, start):
    """A run with some of its splits written, and more to come."""
    for _ in range(TRIES):
        repo.source.change()
        run, wanted = start(), rng.randint(0, repo.source.splits // 2)
        if run.until(f"receipt {wanted}", lambda wanted=wanted: repo.under_way(wanted)):
            return run
        # Too fast: it has committed.
        run.end().ends(0)
        repo.examine()
    raise Failed(f"{TRIES} runs were too fast to be seen in the middle")


def read_only_repository(suite, group, name, count):
    """It can be read, and a backup to it says why it cannot; also where the disk becomes read-only in the middle, as after an error."""
    rng = group.random(name)
    place = Place(suite, "denied")
    disk = suite.opened(mounts.Small(place.path("disk"), SIZE))
    store = Local(place, "disk/repo")
    store.url = f"fault+file://{store.folder}"
    place.variables["RESTOW_FAULTS"] = "none"
    repo = Repository(place, store, data.Source(place.path("in"), rng))
    repo.backup()
    repo.examine()
    with group.case(f"{name}: from the start"):
        disk.read_only()
        refused(repo.backup(1), "disk/repo")
        repo.examine(whole=True)
        place.run("doctor", "-r", store.url, "--key-file", KEY_FILE).ends(0, 1)
        place.run("key", "add", "-r", store.url, "--key-file", KEY_FILE, "--new-key-file", "b.key", "--create").ends(1).says(*DENIED)
        disk.read_only(False)
        repo.rerun()
    for number in range(count):
        with group.case(f"{name}: from some moment on {number}"):
            run = in_the_middle(repo, rng, lambda: repo.start(RESTOW_FAULTS=SLOW))
            remount(disk)
            refused(run.end(BOUND), "disk/repo")
            expect(repo.examine() == [], "a run that failed made a snapshot")
            disk.read_only(False)
            ran = repo.rerun()
            group.note("runs taken up after they lost their target", ran.summary()["resumed"])
    place.remove()


def remount(disk):
    """Read-only, as soon as no file is open for writing."""
    while True:
        try:
            return disk.read_only()
        except mounts.subprocess.CalledProcessError:
            continue


def read_only_export(suite, group, name):
    rng = group.random(name)
    place, repo = repository(suite, "local", rng)
    repo.backup()
    repo.examine()
    disk = suite.opened(mounts.Small(place.path("disk"), SIZE))
    for command in (export(place, "disk/out"), ["restore", "repo", "--to", "disk/out", "--key-file", KEY_FILE, "--yes"]):
        with group.case(f"{name}: {command[0]}"):
            disk.read_only()
            refused(place.run(*command), "disk/out")
            disk.read_only(False)
            ran = place.run(*command).ends(0)
            wrong = data.difference(repo.source.content(), data.read_export(place.path("disk/out")))
            expect(wrong is None, f"the export is not identical: {wrong}", ran)
        shutil.rmtree(place.path("disk/out"), ignore_errors=True)
    place.remove()


def permit(folder, on):
    """Gives or takes the right to write to every folder below; what is done is the same as `chmod -R`, folders only."""
    for base, _, _ in os.walk(folder):
        mode = stat.S_IMODE(os.stat(base).st_mode)
        os.chmod(base, mode | 0o200 if on else mode & ~0o222)


def permission_lost(suite, group, name, count):
    """Somebody changes the rights of the repository's folders while a backup runs."""
    rng = group.random(name)
    place = Place(suite, "denied")
    store = Local(place)
    store.url = f"fault+file://{store.folder}"
    place.variables["RESTOW_FAULTS"] = "none"
    repo = Repository(place, store, data.Source(place.path("in"), rng))
    repo.backup()
    repo.examine()
    for number in range(count):
        with group.case(f"{name}: {number}"):
            run = in_the_middle(repo, rng, lambda: place.start("run", repo.file, "--json", wrap=AS_USER, RESTOW_FAULTS=SLOW))
            permit(store.folder, False)
            ran = run.end(BOUND)
            permit(store.folder, True)
            refused(ran, str(store.folder))
            expect(repo.examine() == [], "a run that failed made a snapshot", ran)
            ran = repo.rerun()
            group.note("runs taken up after they lost their target", ran.summary()["resumed"])
    place.remove()


def permission_missing(suite, group, name):
    """Files that may not be read: the source, the key, a data file of the repository."""
    rng = group.random(name)
    place, repo = repository(suite, "local", rng)
    repo.backup()
    [first] = repo.examine()
    part = next(path for path in repo.store.objects() if path.endswith(".parquet"))
    cases = {"the source": (next(repo.source.folder.rglob("*.jsonl")), ["run", repo.file]),
             "the key": (place.path(KEY_FILE), ["run", repo.file]),
             "the key file's reader": (place.path(KEY_FILE), ["catalog", "list", "-r", "repo", "--key-file", KEY_FILE]),
             "a data file": (repo.store.folder / part, ["restore", "repo", "--to", "out", "--snapshot", first, "--key-file", KEY_FILE, "--yes"])}
    for what, (path, command) in cases.items():
        with group.case(f"{name}: {what}"):
            mode = stat.S_IMODE(os.stat(path).st_mode)
            os.chmod(path, 0)
            ran = place.run(*command, wrap=AS_USER)
            os.chmod(path, mode)
            # A dataset that cannot be read is named, and the others are restored (3).
            ran.ends(1, 12, *([3] if what == "a data file" else [])).within(BOUND).says(*DENIED)
            ran.says(path.name)
            expect(repo.examine() == [], "a run that failed made a snapshot", ran)
            shutil.rmtree(place.path("out"), ignore_errors=True)
            place.run(*command).ends(0)
            repo.examine()
    place.remove()


def credentials(suite, group, name):
    """An object store that says 403."""
    rng = group.random(name)
    place, repo = repository(suite, "minio", rng)
    repo.backup()
    repo.examine()
    for what, wrong in {"wrong secret": {"AWS_SECRET_ACCESS_KEY": "wrong"}, "unknown user": {"AWS_ACCESS_KEY_ID": "nobody"}}.items():
        with group.case(f"{name}: {what}"):
            repo.source.change()
            ran = repo.backup(1, within=BOUND, **wrong).says(repo.store.url)
            expect("only-for" not in ran.out + ran.err and suite.minio.secrets["password"] not in ran.out + ran.err, "a secret is printed", ran)
            repo.examine()
            ran = place.run("restore", repo.store.url, "--to", "out", "--key-file", KEY_FILE, "--yes", **wrong).ends(1).within(BOUND)
            expect(not place.path("out/_restow_export.json").exists(), "an export that failed looks finished", ran)
            repo.rerun()
    place.remove()


def faulty(suite, rng, files):
    place = Place(suite, "denied")
    store = Local(place)
    store.url = f"fault+file://{store.folder}"
    place.variables["RESTOW_FAULTS"] = "none"
    # By default a dataset that fails leaves a partial snapshot, which says so (3).
    repo = Repository(place, store, data.Source(place.path("in"), rng, files=files), more="on_error: { dataset: fail }\n")
    repo.backup()
    repo.examine()
    return place, repo


def errors(suite, group, name, count):
    """The n-th operation of the store fails for good, as with EIO; or from there on all do."""
    rng = group.random(name)
    place, repo = faulty(suite, rng, 2)
    for number in range(count):
        kind, which = rng.choice(["write", "read", "put", "get", "*"]), rng.randint(1, 40)
        plan = f"{kind}:{which}{rng.choice(['', '+'])}={rng.choice(['fail', 'denied', 'tear'])}"
        with group.case(f"{name}: {plan}"):
            repo.source.change()
            # 75 for what may come back: a connection that breaks. 10 and 13 never: nothing is missing, nothing was changed.
            ran = repo.backup(0, 1, 75, within=BOUND, RESTOW_FAULTS=plan)
            expect(ran.code != 75 or "tear" in plan, "a disk error is not a store that may come back", ran)
            new = repo.examine()
            expect(len(new) == (ran.code == 0) or ran.code and len(new) <= 1, f"new are {new}", ran)
            group.note(f"errors of the disk ended with {ran.code}")
            if ran.code:
                ran.says("fault plan")
                repo.rerun()
    place.remove()


def export_errors(suite, group, name, count):
    """The same while an export is written."""
    rng = group.random(name)
    place, repo = repository(suite, "local", rng, files=2)
    repo.backup()
    repo.examine()
    command = export(place, f"fault+file://{place.path('out')}", more="on_error: { dataset: fail }\n")
    for number in range(count):
        plan = f"{rng.choice(['write', 'put', '*'])}:{rng.randint(1, 30)}{rng.choice(['', '+'])}={rng.choice(['fail', 'denied'])}"
        with group.case(f"{name}: {plan}"):
            ran = place.run(*command, RESTOW_FAULTS=plan, within=BOUND).ends(0, 1)
            expect(ran.code == 0 or not place.path("out/_restow_export.json").exists(), "an export that failed looks finished", ran)
            ran = place.run(*command, RESTOW_FAULTS="none").ends(0) if ran.code else ran
            wrong = data.difference(repo.source.content(), data.read_export(place.path("out")))
            expect(wrong is None, f"the export is not identical: {wrong}", ran)
            repo.examine()
        shutil.rmtree(place.path("out"), ignore_errors=True)
    place.remove()
