"""SIGKILL at random times: of backups, of restores, of changes of keys."""

import shutil
import time

import data
from harness import Place, expect
from oracle import KEY_FILE, RECOVERY_FILE, Repository, measure
from stores import S3, Local

# Kills of one repository; then all of its snapshots are restored once more, and another one begins.
CHAIN = 10


def jobs(suite, group):
    """Backups: 20 kills a store, 300 with --full. Restores and key changes: a sample."""
    full = suite.options.full
    yield "first steps", lambda: steps(suite, group, "first steps", range(1, 33) if full else range(4, 18))
    yield "steps of a restore", lambda: restore_steps(suite, group, "steps of a restore", range(1, 200) if full else range(1, 200, 7))
    for word in ("local", "minio"):
        for number in range(30 if full else 2):
            name = f"backup {word} {number}"
            yield name, lambda word=word, name=name: backups(suite, group, word, name)
        name = f"creation {word}"
        yield name, lambda word=word, name=name: creations(suite, group, word, name, 20 if full else 4)
        name = f"restore {word}"
        yield name, lambda word=word, name=name: restores(suite, group, word, name, 30 if full else 5)
        name = f"keys {word}"
        yield name, lambda word=word, name=name: keys(suite, group, word, name, 30 if full else 6)


def repository(suite, word, rng, **shape):
    """A place with a source, and an address where no repository is yet."""
    place = Place(suite, f"kills-{word}")
    store = Local(place) if word == "local" else S3(suite.minio)
    return place, Repository(place, store, data.Source(place.path("in"), rng, **shape))


def backups(suite, group, word, name):
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    seconds = measure(repo)
    for number in range(CHAIN):
        with group.case(f"{name}: kill {number}") as case:
            repo.source.change()
            twice = number == CHAIN - 1  # 10 %
            at = kill(group, repo, rng.uniform(0, seconds))
            if twice:
                at += f" and again {kill(group, repo, rng.uniform(0, seconds))}"
                group.note("of these, killed again while resuming")
            ran = repo.rerun()
            group.note("runs resumed", ran.summary()["resumed"])
        if case.failed:
            print(f"  in {name}, killed {at if number or not case.failed else '?'}; {seconds:.2f} s is a clean run", flush=True)
            return
    with group.case(f"{name}: all {len(repo.known)} snapshots once more"):
        repo.examine(whole=True)
    place.remove()


def kill(group, repo, after):
    """Kills a backup and looks at what it left. Gives when."""
    ran = repo.start().kill_after(after)
    time.sleep(repo.store.settles)
    expect(ran.code in (0, -9), "neither done nor killed", ran)
    before = set(repo.known)
    phase = repo.progress().phase()
    repo.examine()
    if ran.code == 0:
        phase = "after its end"
    elif set(repo.known) - before:
        phase = "after its commit"
    group.note(f"kills {phase}")
    return f"after {after:.3f} s, {phase}"


def creations(suite, group, word, name, count):
    """The first run of all makes key, recovery key and repository: kills in the first third of it."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng, files=1)
    seconds = repo.backup().seconds
    place.remove()
    for number in range(count):
        with group.case(f"{name}: kill {number}"):
            place, repo = repository(suite, word, rng, files=1)
            kill(group, repo, rng.uniform(0, seconds / 2))
            repo.rerun()
            opens(repo, RECOVERY_FILE)
        place.remove()


def opens(repo, key_file):
    """The newest snapshot is queried with another key."""
    place, query = repo.place, "SELECT count(*) AS n FROM items"
    place.run("catalog", "query", "latest", query, "-r", repo.store.url, "--key-file", key_file).ends(0)


def restores(suite, group, word, name, count):
    """A killed restore is no export, and the same command finishes it."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng)
    seconds = measure(repo, 1)
    target = place.path("restored")
    command = ["restore", repo.store.url, "--to", target, "--key-file", KEY_FILE, "--yes"]
    for number in range(count):
        with group.case(f"{name}: kill {number}"):
            ran = place.start(*command).kill_after(rng.uniform(0, seconds))
            done = (target / "_restow_export.json").exists()
            expect(done or ran.code == -9, "ended well without an export", ran)
            again = place.run(*command)
            # What is whole is not overwritten; its own run may still be finished.
            again.ends(0, 7) if done else again.ends(0)
            wrong = data.difference(repo.source.content(), data.read_export(target))
            expect(wrong is None, f"the restore is not identical: {wrong}", again)
            left = sorted(path.name for path in target.iterdir() if path.name not in (*data.WRITERS, "_restow_export.json", "tmp"))
            expect(not left, f"the finished export holds {left}", again)
            group.note("finished exports that keep temporary files of a killed process", (target / "tmp").exists())
            repo.examine()
            group.note("restores killed after their end" if done else "restores killed")
        shutil.rmtree(target, ignore_errors=True)
    place.remove()


def keys(suite, group, word, name, count):
    """A killed change of the keyring is made whole or not at all, and the same command can be given again."""
    rng = group.random(name)
    place, repo = repository(suite, word, rng, files=1)
    measure(repo, 1)
    began = time.monotonic()
    repo.catalog("key", "list")
    seconds = 2 * (time.monotonic() - began)
    recovery = [RECOVERY_FILE]
    for number in range(count):
        change = added if number % 2 == 0 else rotated
        with group.case(f"{name}: {change.__name__} {number}"):
            change(repo, number, rng.uniform(0, seconds), recovery)
            repo.source.change()
            repo.rerun()
            repo.examine(whole=True)
    place.remove()


def added(repo, number, after, recovery):
    new = f"new-{number}.key"
    command = ["key", "add", "-r", repo.store.url, "--key-file", KEY_FILE, "--new-key-file", new, "--create"]
    repo.place.start(*command).kill_after(after)
    repo.examine()
    again = repo.place.run(*command).ends(0, 2)
    if again.code == 2:
        again.says("already opens slot")  # it was added before the kill
    opens(repo, new)
    opens(repo, recovery[0])
    # Removed again, so that a rotation needs no other secrets.
    slot = next(line["slot"] for line in keys_of(repo, new) if line["opened"])
    repo.place.run("key", "remove", slot, "-r", repo.store.url, "--key-file", KEY_FILE, "--yes").ends(0)


def rotated(repo, number, after, recovery):
    new = f"recovery-{number}.key"
    command = ["key", "rotate", "-r", repo.store.url, "--key-file", KEY_FILE, "--recovery-key-file", new]
    repo.place.start(*command).kill_after(after)
    repo.examine()
    # At no moment is there no recovery key: the old one, or the new one that was written before it counted.
    valid = [file for file in (recovery[0], new) if works(repo, file)]
    expect(valid, f"no recovery key opens the repository any more: neither {recovery[0]} nor {new}")
    if not works(repo, new):
        repo.place.run(*command).ends(0)
    opens(repo, new)
    recovery[0] = new


def works(repo, key_file):
    if not repo.place.path(key_file).exists():
        return False
    return repo.place.run("key", "list", "-r", repo.store.url, "--key-file", key_file).ends(0, 2, 12).code == 0


def keys_of(repo, key_file):
    return repo.place.run("key", "list", "-r", repo.store.url, "--key-file", key_file, "--json").ends(0).lines("key")


def steps(suite, group, name, numbers):
    """The first run dies at each step of a store, as a fault plan makes it, with real key files beside. The next one makes it good."""
    rng = group.random(name)
    for number in numbers:
        for moment in ("before", "after"):
            place = Place(suite, "kills-steps")
            store = Local(place)
            store.url = f"fault+file://{store.folder}"
            place.variables["RESTOW_FAULTS"] = "none"
            repo = Repository(place, store, data.Source(place.path("in"), rng, files=1, rows=10))
            with group.case(f"{name}: {moment} operation {number}"):
                ran = repo.backup(0, 1, 75, RESTOW_FAULTS=f"*:{number}=crash({moment})")
                expect(ran.code, "the process did not die", ran)
                repo.examine()
                repo.rerun()
                opens(repo, RECOVERY_FILE)
            place.remove()


def restore_steps(suite, group, name, numbers):
    """A restore dies before, in the middle of and after each operation on its target, until none is left. The same command finishes it."""
    place = Place(suite, "kills-restore-steps")
    repo = Repository(place, Local(place), data.Source(place.path("in"), group.random(name), files=2, rows=20))
    repo.backup()
    target = place.path("restored")
    command = ["restore", repo.store.url, "--to", f"fault+file://{target}", "--key-file", KEY_FILE, "--yes"]
    for number in numbers:
        for moment in ("before", "middle", "after"):
            with group.case(f"{name}: {moment} operation {number}"):
                ran = place.run(*command, RESTOW_FAULTS=f"*:{number}=crash({moment})").ends(0, 1, 75)
                done = (target / "_restow_export.json").exists()
                expect(done or ran.code, "ended well without an export", ran)
                again = place.run(*command, RESTOW_FAULTS="none")
                # What is whole is not overwritten; its own run may still be finished.
                again.ends(0, 7) if done else again.ends(0)
                wrong = data.difference(repo.source.content(), data.read_export(target))
                expect(wrong is None, f"the restore is not identical: {wrong}", again)
            shutil.rmtree(target, ignore_errors=True)
            if ran.code == 0:
                group.note("operations of a restore on its target", number - 1)
                place.remove()
                return
    place.remove()
