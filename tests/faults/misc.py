"""What else a machine does to a program: a reader that has enough, no home, nowhere for temporary files, a folder that is gone."""

import os
import signal
import subprocess

import harness
from harness import AS_USER, expect
from kills import repository

CAN_WRITE = 0o755
CANNOT_WRITE = 0o555


def jobs(suite, group):
    cases = {"pipe closed": closed_pipe, "no home": no_home, "no place for temporary files": no_temporary, "streams closed": closed_streams,
             "interrupted": interrupted}
    for word in ("local", "minio"):
        for name, case in cases.items():
            yield f"{name} {word}", lambda word=word, name=f"{name} {word}", case=case: one(suite, group, word, name, case)


def one(suite, group, word, name, case):
    rng = group.random(name)
    place, repo = repository(suite, word, rng, files=2)
    repo.backup()
    repo.examine()
    repo.source.change()
    with group.case(f"{name}: {case.__name__}"):
        case(repo)
        repo.examine(whole=True)
    place.remove()


def closed_pipe(repo):
    """`... | head -1` is no failure, and a backup is made although nobody reads what it says."""
    words = f"catalog query latest 'SELECT * FROM items CROSS JOIN notes' -r {repo.store.url} --key-file {repo.key_file} --format json"
    for command, bound in ((f"{words}", 1), ("catalog list --json -r " + f"{repo.store.url} --key-file {repo.key_file}", 0)):
        script = f'"{harness.BINARY}" {command} | head -{bound} >/dev/null; exit ${{PIPESTATUS[0]}}'
        ended = shell(repo, script)
        expect(ended.returncode == 0 and not ended.stderr, f"`| head` ended with {ended.returncode}: {ended.stderr}")
    ended = shell(repo, f'"{harness.BINARY}" run {repo.file} --json | true; exit ${{PIPESTATUS[0]}}')
    expect(ended.returncode == 0, f"a backup nobody reads ended with {ended.returncode}: {ended.stderr}")
    expect(len(repo.examine()) == 1, "a backup nobody reads made no snapshot")


def shell(repo, script):
    return subprocess.run(["bash", "-c", script], cwd=repo.place.work, env=repo.place.environment({}), capture_output=True, text=True, timeout=120)


def closed_streams(repo):
    """No standard output, error and input at all, as under some supervisors: nothing that restow opens takes their numbers."""
    ended = shell(repo, f'exec "{harness.BINARY}" run {repo.file} <&- >&- 2>&-')
    expect(ended.returncode == 0, f"without streams it ended with {ended.returncode}")
    expect(len(repo.examine()) == 1, "without streams no snapshot was made")


def no_home(repo):
    """HOME is not set, or names nothing, as in a container."""
    for home in (None, "/nonexistent/home", ""):
        repo.source.change()
        repo.backup(HOME=home)
        expect(len(repo.examine()) == 1, "no snapshot was made")
        repo.place.run("doctor", "-r", repo.store.url, "--key-file", repo.key_file, HOME=home).ends(0)


def no_temporary(repo):
    """Nothing is written to TMPDIR: plaintext never goes there."""
    for folder in ("/nonexistent/tmp", str(repo.place.root / "tmp")):
        repo.source.change()
        os.chmod(repo.place.root / "tmp", CANNOT_WRITE)
        ran = repo.place.run("run", repo.file, "--json", wrap=AS_USER, TMPDIR=folder).ends(0)
        os.chmod(repo.place.root / "tmp", CAN_WRITE)
        expect(repo.examine() == [ran.summary()["snapshot"]], "no snapshot was made", ran)
    expect(not os.listdir(repo.place.root / "tmp"), "something was left in TMPDIR")


def interrupted(repo):
    """SIGINT and SIGTERM end it with 130, a second one too; it can be taken up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        repo.source.change()
        run = repo.start()
        run.until("the intent", repo.under_way)
        run.signal(number)
        run.signal(number)
        # Where it was too fast, it is done.
        ran = run.end(20).ends(0, 130, *([-signal.SIGHUP] if number == signal.SIGHUP else []))
        repo.examine()
        if ran.code:
            repo.rerun()
