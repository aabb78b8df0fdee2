"""A full disk: of the repository, of an export, of the run state, of key files."""

import contextlib
import os
import shutil

import data
import mounts
from harness import Place, expect
from oracle import KEY_FILE, RECOVERY_FILE, Repository, SEALED
from stores import Local

# How long a run may take to notice.
BOUND = 30.0
SIZE = 64 << 20


def jobs(suite, group):
    full = suite.options.full
    yield "fault plan", lambda: planned(suite, group, "fault plan", 40 if full else 6)
    if not suite.can_mount:
        print("!!!! MOUNTS ARE NOT PERMITTED HERE: full disks are made up by fault plans only", flush=True)
        return
    yield "repository", lambda: repositories(suite, group, "repository", 100 if full else 10)
    yield "no inodes", lambda: inodes(suite, group, "no inodes", 30 if full else 3)
    yield "first run", lambda: first_runs(suite, group, "first run", 30 if full else 5)
    yield "export", lambda: exports(suite, group, "export", 30 if full else 4)
    yield "state", lambda: states(suite, group, "state")
    yield "key files", lambda: key_files(suite, group, "key files")


def small(suite, place, name="disk", options=""):
    """A disk in the working folder of a place."""
    return suite.opened(mounts.Small(place.path(name), SIZE, options))


def full(ran, *named):
    """Exit code 6 in bounded time, and a message that says what could not be written."""
    ran.ends(6).within(BOUND)
    ran.says("no space", "full")
    if named:
        ran.says(*named)


def repositories(suite, group, name, count):
    """The disk is full before, in the middle of and at the end of a run; then space is made and it goes on."""
    rng = group.random(name)
    place = Place(suite, "disk")
    small(suite, place)
    disk_folder = place.path("disk")
    repo = Repository(place, Local(place, "disk/repo"), data.Source(place.path("in"), rng))
    repo.backup()
    repo.examine()
    repo.source.change()
    before = used(disk_folder)
    repo.backup()
    repo.examine()
    needed = used(disk_folder) - before
    levels = [0, 4096] + [int(needed * (number + rng.random()) / (count - 2)) for number in range(count - 2)]
    for level in levels:
        with group.case(f"{name}: {level // 1024} kB are free, {needed // 1024} are needed"):
            repo.source.change()
            with filled(disk_folder, level):
                ran = repo.backup(0, 6, within=BOUND)
                if ran.code == 6:
                    full(ran, "disk/repo")
                    expect(repo.examine() == [], "a run on a full disk made a snapshot", ran)
                else:
                    repo.examine()
                group.note(f"runs on a full disk ended with {ran.code}")
            ran = repo.rerun()
            group.note("runs taken up after there was space", ran.summary()["resumed"])
    with group.case(f"{name}: all {len(repo.known)} snapshots"):
        repo.examine(whole=True)
    place.remove()


def used(folder):
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@contextlib.contextmanager
def filled(folder, level):
    """Leaves so many bytes free, for a while."""
    ballast = folder / ".ballast"
    with open(ballast, "wb") as file:
        found = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - level))
    try:
        yield
    finally:
        ballast.unlink()


def inodes(suite, group, name, count):
    """Space is left, but no file can be made."""
    rng = group.random(name)
    place = Place(suite, "disk")
    small(suite, place, options=",nr_inodes=4000")
    repo = Repository(place, Local(place, "disk/repo"), data.Source(place.path("in"), rng))
    repo.backup()
    repo.examine()
    for number in range(count):
        with group.case(f"{name}: {number}"):
            repo.source.change()
            free, leave = os.statvfs(place.path("disk")).f_ffree, rng.choice([0, 1, 2, rng.randint(3, 60), rng.randint(3, 60)])
            taken = place.path("disk/taken")
            taken.mkdir()
            for index in range(free - 1 - leave):
                (taken / str(index)).touch()
            ran = repo.backup(0, 6, within=BOUND)
            if ran.code == 6:
                full(ran, "disk/repo")
                expect(repo.examine() == [], "a run without inodes made a snapshot", ran)
            else:
                repo.examine()
            shutil.rmtree(taken)
            repo.rerun()
    place.remove()


def first_runs(suite, group, name, count):
    """Key, recovery key and repository on a disk that fills while they are made."""
    rng = group.random(name)
    for number in range(count):
        place = Place(suite, "disk")
        small(suite, place)
        sealed = SEALED.replace(KEY_FILE, f"disk/{KEY_FILE}").replace(RECOVERY_FILE, f"disk/{RECOVERY_FILE}")
        source = data.Source(place.path("in"), rng, files=1)
        repo = Repository(place, Local(place, "disk/repo"), source, key_file=f"disk/{KEY_FILE}", sealed=sealed)
        level = 4096 * (number if number < 4 else rng.randint(4, 12))
        with group.case(f"{name}: {level} bytes are free"):
            with filled(place.path("disk"), level):
                ran = repo.backup(0, 6, within=BOUND)
            if ran.code == 6:
                full(ran)
            ran = repo.backup()
            expect(ran.summary()["snapshot"] in repo.examine(), "the snapshot is not there", ran)
            query = ("catalog", "query", "latest", "SELECT count(*) AS n FROM items", "-r", repo.store.url)
            place.run(*query, "--key-file", f"disk/{RECOVERY_FILE}").ends(0)
        place.remove()


def backed_up(suite, group, name):
    rng = group.random(name)
    place = Place(suite, "disk")
    repo = Repository(place, Local(place), data.Source(place.path("in"), rng))
    repo.backup()
    repo.examine()
    small(suite, place)
    return rng, place, repo


def export(place, path, more="", codec="parquet: {}"):
    """A pipeline from the repository into files."""
    unlock = f"unlock: {{ key_file: {KEY_FILE} }}"
    place.write("export.yaml", (
        f"version: 1\nstages:\n  - source: {{ repository: {{ url: repo, {unlock} }} }}\n"
        f"  - codec: {{ {codec} }}\n  - sink: {{ files: {{ path: {path} }} }}\n{more}"))
    return "run", "export.yaml", "--json"


def exports(suite, group, name, count):
    """An export that does not fit is no export, and is finished once there is space."""
    rng, place, repo = backed_up(suite, group, name)
    command = export(place, "disk/out")
    before = used(place.path("disk"))
    place.run(*command).ends(0)
    needed = used(place.path("disk")) - before
    shutil.rmtree(place.path("disk/out"))
    for number in range(count):
        level = int(needed * (number + rng.random()) / count)
        with group.case(f"{name}: {level // 1024} kB are free, {needed // 1024} are needed"):
            with filled(place.path("disk"), level):
                ran = place.run(*command).ends(0, 6)
            if ran.code == 6:
                full(ran, "disk/out")
                expect(not place.path("disk/out/_restow_export.json").exists(), "an export that failed looks finished", ran)
            ran = place.run(*command).ends(0) if ran.code else ran
            wrong = data.difference(repo.source.content(), data.read_export(place.path("disk/out")))
            expect(wrong is None, f"the export is not identical: {wrong}", ran)
            repo.examine()
        shutil.rmtree(place.path("disk/out"), ignore_errors=True)
    place.remove()


def states(suite, group, name):
    """The run state of an export lies on the full disk, the export elsewhere."""
    rng, place, repo = backed_up(suite, group, name)
    command = export(place, "out", more="state: { url: disk/state }\n")
    for level in (0, 4096, 40960):
        with group.case(f"{name}: {level} bytes are free"):
            with filled(place.path("disk"), level):
                full(place.run(*command), "disk/state")
            expect(not place.path("out/_restow_export.json").exists(), "an export that failed looks finished")
            ran = place.run(*command).ends(0)
            wrong = data.difference(repo.source.content(), data.read_export(place.path("out")))
            expect(wrong is None, f"the export is not identical: {wrong}", ran)
        shutil.rmtree(place.path("out"), ignore_errors=True)
    place.remove()


def key_files(suite, group, name):
    """A key or recovery key that cannot be written whole opens nothing, and nothing is changed for it."""
    _, place, repo = backed_up(suite, group, name)
    commands = {
        "key add": ["key", "add", "--new-key-file", "disk/new.key", "--create"],
        "key rotate": ["key", "rotate", "--recovery-key-file", "disk/rotated.recovery"],
        "key recovery": ["key", "recovery", "--recovery-key-file", "disk/other.recovery", "--yes"],
    }
    for what, words in commands.items():
        with group.case(f"{name}: {what}"):
            command = [*words, "-r", "repo", "--key-file", KEY_FILE]
            with filled(place.path("disk"), 0):
                ran = place.run(*command)
            full(ran, "disk/")
            repo.examine(whole=True)
            place.run(*command).ends(0)
            repo.examine(whole=True)
            new = [word for word in words if word.startswith("disk/")][0]
            place.run("key", "list", "-r", "repo", "--key-file", new).ends(0)
            if what == "key add":
                # Removed again, so that a rotation needs no other secrets.
                keys = place.run("key", "list", "-r", "repo", "--key-file", new, "--json").ends(0).lines("key")
                slot = next(line["slot"] for line in keys if line["opened"])
                place.run("key", "remove", slot, "-r", "repo", "--key-file", KEY_FILE, "--yes").ends(0)


def planned(suite, group, name, count):
    """The same by a fault plan, which needs no mount: the n-th write and all later ones find no space."""
    rng = group.random(name)
    place = Place(suite, "disk")
    store = Local(place)
    store.url = f"fault+file://{store.folder}"
    place.variables["RESTOW_FAULTS"] = "none"
    repo = Repository(place, store, data.Source(place.path("in"), rng, files=3))
    repo.backup()
    repo.examine()
    for number in range(count):
        with group.case(f"{name}: write {number * 3 + 1} and later"):
            repo.source.change()
            ran = repo.backup(0, 6, within=BOUND, RESTOW_FAULTS=f"write:{number * 3 + 1}+=no-space")
            if ran.code == 6:
                full(ran)
                expect(repo.examine() == [], "a run on a full disk made a snapshot", ran)
                repo.rerun()
            else:
                repo.examine()
    place.remove()
