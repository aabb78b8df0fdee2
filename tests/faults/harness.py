"""What all groups stand on: the binary as a process, cases that are counted, and an end that leaves nothing behind."""

import concurrent.futures
import contextlib
import fnmatch
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("RESTOW_BIN", "/var/tmp/bin/restow")
# Generous: how long a healthy command may take on a busy machine. What must end sooner says so itself.
PATIENCE = 120.0
# A process that stands still would outlive us if we were killed.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
# Root may write everywhere: without its capabilities it is a user like any other, to whom permissions apply.
AS_USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


class Failed(Exception):
    """Something did not hold; the text says what, and shows the command where there is one."""


def expect(holds, what, *shown):
    """Fails with `what`, and with the text of everything `shown`, unless `holds`."""
    if not holds:
        raise Failed("\n".join([what, *(one.text() if isinstance(one, Ran) else str(one) for one in shown)]))


class Ran:
    """How a command ended and what it printed."""

    def __init__(self, process, code, out, err, seconds):
        self.process, self.code, self.out, self.err, self.seconds = process, code, out, err, seconds

    def text(self):
        """Everything, as one would paste it into a bug report."""
        streams = [f"  {name}| {line}" for name, text in (("out", self.out), ("err", self.err)) for line in text.splitlines()]
        return "\n".join([f"$ {self.process.shown}", f"  exit code {self.code} after {self.seconds:.1f} s", *streams[-40:]])

    def ends(self, *codes):
        """Fails unless it ended with one of these codes."""
        expect(self.code in codes, f"exit code {self.code} instead of {' or '.join(map(str, codes))}", self)
        return self

    def says(self, *parts):
        """Fails unless one of these is printed, whatever the case."""
        whole = (self.out + self.err).lower()
        expect(any(part.lower() in whole for part in parts), f"says nothing of {' or '.join(map(repr, parts))}", self)
        return self

    def within(self, seconds):
        """Fails where it took longer."""
        expect(self.seconds <= seconds, f"took {self.seconds:.1f} s, more than {seconds:.1f} s", self)
        return self

    def lines(self, kind=None):
        """The JSON lines of `--json`, of one type where given."""
        try:
            found = [json.loads(line) for line in self.out.splitlines()]
        except ValueError as error:
            raise Failed(f"standard output is not JSON lines: {error}\n{self.text()}") from None
        return [line for line in found if kind in (None, line["type"])]

    def summary(self):
        """The last line of `--json`."""
        found = self.lines()
        expect(found and found[-1]["type"] == "summary", "the last line is no summary", self)
        return found[-1]


class Processes:
    """Every process that the suite has started and that may still live."""

    def __init__(self):
        self.lock, self.living, self.stopping = threading.Lock(), set(), False

    def start(self, command, **options):
        """Starts a process in a session of its own: Ctrl-C reaches it through us only."""
        with self.lock:
            if self.stopping:
                raise Failed("the suite is ending")
            process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
            self.living.add(process)
            return process

    def ended(self, process):
        with self.lock:
            self.living.discard(process)

    def end_all(self):
        """Kills what lives, stopped or not; nothing can be started afterwards."""
        with self.lock:
            self.stopping = True
            for process in self.living:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


PROCESSES = Processes()


class Started:
    """A running restow, its output going to files so that no pipe ever blocks it."""

    def __init__(self, place, arguments, variables, wrap):
        self.place = place
        command = [*wrap, BINARY, *map(str, arguments)]
        changed = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items() if not secret(name))
        self.shown = f"cd {place.work} && {changed} {shlex.join(command)}"
        # Not in the folder of the place: that may be full or not writable.
        self.streams = [tempfile.TemporaryFile(dir=place.suite.folder) for _ in range(2)]
        self.began = time.monotonic()
        self.popen = PROCESSES.start([*DIES_WITH_US, *command], cwd=place.work, env=place.environment(variables), stdout=self.streams[0], stderr=self.streams[1])

    def signal(self, number):
        """Sends a signal, also to one that has ended."""
        self.popen.send_signal(number)

    def lives(self):
        return self.popen.poll() is None

    def printed(self):
        """What it has printed so far, on both streams."""
        return "".join(os.pread(stream.fileno(), 1 << 22, 0).decode(errors="replace") for stream in self.streams)

    def end(self, within=PATIENCE):
        """Waits for the end. One that does not come is a failure of the case."""
        late = False
        try:
            self.popen.wait(max(0.0, self.began + within - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if self.popen.poll() is None:
                self.popen.kill()
                self.popen.wait()
            PROCESSES.ended(self.popen)
        texts = []
        for stream in self.streams:
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
            stream.close()
        ran = Ran(self, self.popen.returncode, *texts, time.monotonic() - self.began)
        expect(not late, f"did not end within {within:.0f} s", ran)
        return ran

    def kill_after(self, seconds):
        """SIGKILL at that time after its start, unless it ended before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(max(0.0, self.began + seconds - time.monotonic()))
        self.signal(signal.SIGKILL)
        return self.end()

    def until(self, what, holds, within=PATIENCE):
        """Waits until something holds; false where the process ended before that."""
        until = time.monotonic() + within
        while not holds():
            if not self.lives():
                return False
            expect(time.monotonic() < until, f"{what} did not come within {within:.0f} s")
            time.sleep(0.002)
        return True


def secret(name):
    return "SECRET" in name or "KEY" in name


class Place:
    """A folder to run in, with a home and a place for temporary files of its own."""

    def __init__(self, suite, name):
        self.suite = suite
        self.root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=suite.folder))
        self.work = self.root / "work"
        for folder in ("work", "home", "tmp"):
            (self.root / folder).mkdir()
        self.variables = {}

    def environment(self, more):
        """Only what every program gets: no setting of the developer's own takes part."""
        own = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"),
               "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        whole = {**own, **self.variables, **more}
        return {name: value for name, value in whole.items() if value is not None}

    def path(self, *parts):
        return self.work.joinpath(*parts)

    def write(self, name, text):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *arguments, wrap=(), **variables):
        """Starts restow and leaves it running."""
        return Started(self, arguments, {**self.variables, **variables}, wrap)

    def run(self, *arguments, within=PATIENCE, wrap=(), **variables):
        """Runs restow to its end."""
        return self.start(*arguments, wrap=wrap, **variables).end(within)

    def remove(self):
        """Removes the folder, unless what is in it is to be looked at."""
        if not self.suite.options.keep:
            shutil.rmtree(self.root, ignore_errors=True)


class Group:
    """One line of the table: cases, failures, seconds; and notes that are printed beside it."""

    def __init__(self, suite, name):
        self.suite, self.name = suite, name
        self.lock, self.count, self.failures, self.notes, self.seconds = threading.Lock(), 0, 0, {}, 0.0

    def random(self, job):
        """The random numbers of a job: the same for the same seed, whatever else runs."""
        return random.Random(f"{self.suite.options.seed}/{self.name}/{job}")

    def note(self, what, by=1):
        """Counts something that is worth knowing of the cases."""
        with self.lock:
            if by:
                self.notes[what] = self.notes.get(what, 0) + by

    def longest(self, what, seconds):
        """Keeps the longest of several times, in whole seconds."""
        with self.lock:
            self.notes[what] = max(self.notes.get(what, 0), round(seconds))

    @contextlib.contextmanager
    def case(self, name):
        """Counts one case. What fails inside is reported, and does not end the job; `failed` of the result says so."""
        outcome = Outcome()
        try:
            yield outcome
        except Exception as error:
            outcome.failed = True
            if not PROCESSES.stopping:
                self.report(name, str(error) if isinstance(error, Failed) else traceback.format_exc())
        finally:
            with self.lock:
                self.count += not PROCESSES.stopping

    def report(self, name, text):
        with self.lock:
            self.failures += 1
            again = f"tests/faults/run --only {self.name} --seed {self.suite.options.seed} --job {shlex.quote(name.split(': ')[0])} --keep"
            if self.suite.options.full:
                again += " --full"
            print(f"\nFAILED {self.name} {name} (seed {self.suite.options.seed})\n{text}\n  again: {again}\n", flush=True)

    def run(self, jobs, workers):
        """Runs the jobs, (name, function) each, some at once. A job counts its own cases."""
        began = time.monotonic()
        wanted = [(name, job) for name, job in jobs if asked_for(self.suite.options.job, name)]
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            try:
                for future in [pool.submit(self.attempt, name, job) for name, job in wanted]:
                    future.result()
            except BaseException:
                PROCESSES.end_all()  # else the pool would wait for them
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self.seconds = time.monotonic() - began
        if not self.count and self.suite.options.job is None and not PROCESSES.stopping:
            self.report("nothing: no case was run", "a group that runs nothing proves nothing")

    def attempt(self, name, job):
        began = time.monotonic()
        try:
            job()
        except Exception as error:
            if not PROCESSES.stopping:
                self.report(f"{name}: outside of any case", str(error) if isinstance(error, Failed) else traceback.format_exc())
        if self.suite.options.verbose:
            print(f"  {self.name} {name}: {time.monotonic() - began:.1f} s", flush=True)


def asked_for(patterns, name):
    """Whether a job is to be run: all are, unless some are named, or a pattern of names is given, or several."""
    several = [patterns] if isinstance(patterns, str) else patterns
    return not several or any(name == one or fnmatch.fnmatchcase(name, one) for one in several)


class Outcome:
    """Whether a case failed."""

    failed = False


def clean_up(folder, keep):
    """Kills what lives, then removes everything; mounts first, lest what is mounted be taken for ours."""
    PROCESSES.end_all()
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = line.split()[1]
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    if keep:
        print(f"kept: {folder}")
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # a thread has just made something: it ends now that it can start nothing
        time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
