"""What all servers have in common: the cache, installing, free ports, starting, waiting until ready, stopping.

The cache is $RESTOW_CACHE, else $XDG_CACHE_HOME/restow, else ~/.cache/restow. Under its folder `servers`:

    NAME/VERSION/            an installed server, complete once it is there
    logs/NAME/*.log          the newest logs, kept after a stop
    run/GROUP/NAME.json      a started server: process, ports, address, environment of the tests (mode 0600)
    run/GROUP/NAME/          its data, removed at the stop
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HOST = "127.0.0.1"
BUCKET = "restow"
LOGS_KEPT = 20
PORT_ATTEMPTS = 5
PORT_TAKEN = re.compile(r"(address|port is) already in use|EADDRINUSE", re.IGNORECASE)  # what the servers say of it


class Failure(Exception):
    """A message for the user: names the thing and the remedy."""


class Server:
    """One server. `name` and `version` are constants; the version is exact and part of the path in the cache."""

    name = ""
    version = ""
    ready_within = 60.0  # seconds from start to ready, generous: other work shares the machine

    def install(self, folder):
        """Puts the server into the empty `folder` and returns its main file, relative to it."""
        raise NotImplementedError

    def command(self, program, data, port, secrets):
        """The command line and the variables that its environment needs."""
        raise NotImplementedError

    def ready(self, port):
        """Whether it answers; raises Failure where what answers is the wrong thing or version."""
        raise NotImplementedError

    def secrets(self):
        """What is made up anew for each start."""
        return {}

    def prepare(self, port, secrets):
        """After ready: creates what the tests take for granted."""

    def env(self, port, secrets):
        """The variables that a test reads."""
        raise NotImplementedError


def say(text):
    print(f"servers: {text}", file=sys.stderr, flush=True)


def cache():
    own = os.environ.get("RESTOW_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restow"
    return base.absolute() / "servers"


@contextlib.contextmanager
def locked(path):
    """One process at a time, also across checkouts. The operating system frees the lock of a dead process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---- installing


def install(server):
    """Installs into the cache where it is not there yet; returns the main file. Checks what is there, always."""
    final = cache() / server.name / server.version
    with locked(cache() / server.name / f".{server.version}.lock"):
        if not (final / "installed.json").exists():
            shutil.rmtree(final, ignore_errors=True)
            work = final.with_name(f".{server.version}.partial")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            say(f"installing {server.name} {server.version}")
            began = time.monotonic()
            program = server.install(work)
            record = {"name": server.name, "version": server.version, "program": program, "sha256": digest(work / program)}
            (work / "installed.json").write_text(json.dumps(record))
            work.rename(final)
            say(f"installed {server.name} {server.version} in {time.monotonic() - began:.0f} s")
        record = json.loads((final / "installed.json").read_text())
        program = final / record["program"]
        if record["version"] != server.version or digest(program) != record["sha256"]:
            raise Failure(f"{final} is not what was installed: remove that folder and start again")
        return program


def digest(path):
    with open(path, "rb") as file:
        hasher = hashlib.sha256()
        while block := file.read(1 << 20):
            hasher.update(block)
        return hasher.hexdigest()


def tool(command, remedy, **options):
    """Runs an installer. Its output goes to standard error, where a log keeps it."""
    if not shutil.which(command[0]):
        raise Failure(f"{command[0]} is not installed: {remedy}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(map(str, command))}` failed with exit code {done.returncode}")


def go_install(folder, package, module, version):
    """`go install package@version` into `folder`; checks that the binary was built from exactly that module version."""
    variables = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false"}
    variables.pop("GOOS", None)
    variables.pop("GOARCH", None)
    tool(["go", "install", f"{package}@{version}"], "install Go 1.26 or newer", env=variables)
    program = package.rsplit("/", 1)[-1]
    built = subprocess.run(["go", "version", "-m", folder / program], capture_output=True, text=True, check=True).stdout
    if not re.search(rf"^\tmod\t{re.escape(module)}\t{re.escape(version)}\s", built, re.MULTILINE):
        raise Failure(f"{program} was not built from {module} {version}:\n{built[:400]}")
    return program


# ---- running


class Group:
    """The servers of one run. Groups do not see each other, so that two runs on one machine never share a server."""

    def __init__(self, name=None, owner=None):
        name = name or os.environ.get("RESTOW_SERVERS_GROUP") or "default"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise Failure(f"{name!r} is no group name: use letters, digits, '.', '_' and '-'")
        self.folder = cache() / "run" / name
        self.owner = owner

    def states(self):
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json")) if path.name != "owner.json"]

    @staticmethod
    def is_up(state):
        return is_process(state["pid"], state["started"]) and listens(state["pid"], state["port"])

    def start(self, server, program):
        """Starts the server, or returns the one that this group runs already."""
        sweep()
        with locked(self.folder.with_name(f".{self.folder.name}.lock")):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.owner:
                write_private(self.folder / "owner.json", {"pid": self.owner, "started": started(self.owner)})
            path = self.folder / f"{server.name}.json"
            if path.exists():
                state = json.loads(path.read_text())
                if state["version"] == server.version and self.is_up(state) and server.ready(state["port"]):
                    return state
                say(f"{server.name} of this group is down, not ready, or another version: starting it again")
                self.stop_one(path)
            for attempt in range(PORT_ATTEMPTS):
                state = self.spawn(server, program)
                if state:
                    return state
            raise Failure(f"{server.name} found its port taken {PORT_ATTEMPTS} times running")

    def spawn(self, server, program):
        """One attempt; None where another process was faster on the port."""
        began, port, secrets = time.monotonic(), free_port(), server.secrets()
        data = self.folder / server.name
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True, mode=0o700)
        command, variables = server.command(program, data, port, secrets)
        log = new_log(server.name)
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=data,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(data), "LANG": "C.UTF-8", **variables},
                start_new_session=True,
            )
        state = {
            "name": server.name, "version": server.version, "pid": process.pid, "started": started(process.pid), "port": port,
            "address": f"http://{HOST}:{port}", "log": str(log), "env": server.env(port, secrets),
        }
        path = self.folder / f"{server.name}.json"
        write_private(path, state)  # before it is ready: whoever comes after a crash of this script can stop it
        try:
            if not wait_ready(server, process, port):
                path.unlink()
                if PORT_TAKEN.search(tail(log)):
                    return None
                raise Failure(f"{server.name} ended with code {process.returncode} before it was ready; its log:\n{tail(log)}")
            server.prepare(port, secrets)
        except BaseException:
            if path.exists():
                self.stop_one(path)
                process.wait()
            raise
        say(f"{server.name} {server.version} on {state['address']} after {time.monotonic() - began:.1f} s, log {log}")
        return state

    def stop(self, names=None):
        """Stops the named servers, or all of the group; returns the names of those that were there."""
        with locked(self.folder.with_name(f".{self.folder.name}.lock")):
            paths = [self.folder / f"{state['name']}.json" for state in self.states() if names is None or state["name"] in names]
            for path in paths:
                self.stop_one(path)
            if not self.states():
                shutil.rmtree(self.folder, ignore_errors=True)
            return [path.stem for path in paths]

    @staticmethod
    def stop_one(path):
        state = json.loads(path.read_text())
        end(state["pid"], state["started"])
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        path.unlink()


def sweep():
    """Stops the servers of groups whose owner is gone: a run that was killed could not do it."""
    for path in (cache() / "run").glob("*/owner.json"):
        try:
            owner = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # stopped or being written by its own run at this moment
        if not is_process(owner["pid"], owner["started"]):
            say(f"stopping what the dead run {path.parent.name} left behind")
            Group(path.parent.name).stop()


def write_private(path, value):
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    part.rename(path)


def new_log(name):
    folder = cache() / "logs" / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"))[:-LOGS_KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.monotonic_ns()}.log"


def tail(log, size=4000):
    return Path(log).read_text(errors="replace")[-size:]


def free_port():
    """A port that is free now. Another process may still take it first: `spawn` notices and tries another."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_ready(server, process, port):
    """Until our own process holds the port and answers. False where it ended."""
    until = time.monotonic() + server.ready_within
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            if listens(process.pid, port) and server.ready(port):
                return True
        time.sleep(0.05)
    raise Failure(f"{server.name} was not ready after {server.ready_within:.0f} s")


# ---- processes (Linux: /proc)


def stat(pid):
    """The fields of /proc/PID/stat from `state` on. None where there is no such process, or only its exit code is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields


def started(pid):
    """Start time in clock ticks since boot: with the number it names a process for good. None where there is none."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def is_process(pid, start):
    return start is not None and started(pid) == start


def members(leader, start):
    """The processes of the session that this process began, itself included. Its number stays taken while one lives."""
    found = []
    for entry in os.listdir("/proc"):
        fields = stat(entry) if entry.isdigit() else None
        if fields and int(fields[3]) == leader and start is not None and int(fields[19]) >= start:
            found.append(int(entry))
    return found


def listens(pid, port):
    """Whether this very process listens on the port, and not another that was faster."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table) as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                    sockets.add(f"socket:[{fields[9]}]")
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") in sockets:
                    return True
    return False


def end(pid, start):
    """Ends the process and what it started: asked first, forced after 10 s. Never one that merely got its number."""
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        until = time.monotonic() + patience
        for member in members(pid, start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)
        while members(pid, start) and time.monotonic() < until:
            time.sleep(0.02)
    if members(pid, start):
        raise Failure(f"process {pid} does not end")


# ---- HTTP


def request(port, method, path, headers=None, body=b""):
    """One request to loopback, past any proxy: status, headers, body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def expect(what, answer, *statuses):
    status, _, body = answer
    if status not in statuses:
        raise Failure(f"{what}: status {status} instead of {statuses}: {body[:400]!r}")
    return answer
