"""What all groups stand on, beside the harness of the fault suite: pipelines of a repository between servers, exports that are read back,
and a relay that can be cut."""

import contextlib
import json
import shlex
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "faults"))

import harness  # noqa: E402
from harness import Failed, Place, expect  # noqa: E402

KEY_FILE = "backup.key"
SEALED = {"encrypt": {"aes-256-gcm": {"key_file": KEY_FILE, "create": True, "recovery_key_file": "backup.recovery"}}}
UNLOCKED = {"repository": {"url": "repo", "unlock": {"key_file": KEY_FILE}}}
# A backup or restore of a whole fixture on a busy machine.
PATIENCE = 600.0


class Group(harness.Group):
    """The same, with the command that runs a case of this suite again."""

    def report(self, name, text):
        options = self.suite.options
        # What went wrong may have changed what others read from: it is made anew.
        self.suite.bases.clear()
        with self.lock:
            self.failures += 1
            again = f"tests/conformance/run --database {options.database} --only {self.name} --seed {options.seed} --job {shlex.quote(name.split(': ')[0])} --keep"
            print(f"\nFAILED {self.name} {name} (seed {options.seed})\n{text}\n  again: {again}{' --full' if options.full else ''}\n", flush=True)


class Vault:
    """A place with an encrypted repository, and the pipelines to and from it."""

    def __init__(self, suite, server, name="vault"):
        self.suite, self.database, self.server = suite, suite.database, server
        self.place = Place(suite, name)
        self.place.variables.update(server.variables)
        # Exports so far, and the last run of one.
        self.exports, self.ran = 0, None

    def write(self, name, source, sink, stages=(), backups=None, server=None, **more):
        """A pipeline file: JSON, which is YAML."""
        connections = {"server": (server or self.server).connection}
        if backups:
            connections["backups"] = backups
        whole = {"version": 1, "name": name, "connections": connections, **more, "stages": [{"source": source}, *stages, {"sink": sink}]}
        self.place.write(f"{name}.yaml", json.dumps(whole, indent=2, ensure_ascii=False))
        return f"{name}.yaml"

    def backup_file(self, names=None, stages=(), name="backup", server=None, more=None, **options):
        """The file of a backup of these datasets, or all."""
        source = self.database.source(names, **options)
        sink = {"repository": {"connection": "backups"}}
        return self.write(name, source, sink, [*stages, SEALED], {"repository": {"url": "repo", "create": "if_missing"}}, server, **(more or {}))

    def backup(self, names=None, codes=(0,), arguments=(), **options):
        """Runs a backup; gives its result."""
        return self.run(self.backup_file(names, **options), *arguments, codes=codes)

    def restore_file(self, datasets=None, stages=(), name="restore", server=None, snapshot="latest", more=None, **options):
        """The file of a restore of these datasets, or all."""
        source = {"repository": {"connection": "backups", "snapshot": snapshot} | ({"datasets": datasets} if datasets else {})}
        return self.write(name, source, self.database.sink(**options), stages, UNLOCKED, server, **(more or {}))

    def restore(self, datasets=None, codes=(0,), arguments=(), **options):
        return self.run(self.restore_file(datasets, **options), *arguments, codes=codes)

    def run(self, file, *arguments, codes=(0,), within=PATIENCE, **variables):
        return self.place.run("run", file, "--json", *arguments, within=within, **variables).ends(*codes)

    def start(self, file, *arguments, **variables):
        return self.place.start("run", file, "--json", *arguments, **variables)

    def snapshots(self):
        """Ids of the complete snapshots; none where there is no repository yet."""
        if not self.place.path("repo", "repository.json").exists():
            return []
        return [line["snapshot"] for line in self.place.run("catalog", "list", "-r", "repo", "--key-file", KEY_FILE, "--json").ends(0).lines("snapshot")]

    def verify(self):
        """Every row of every snapshot decodes."""
        self.place.run("catalog", "verify", "--level", "read", "-r", "repo", "--key-file", KEY_FILE, within=PATIENCE).ends(0)

    def export(self, stages=(), snapshot="latest", datasets=None, arguments=(), codes=(0,)):
        """The rows of a snapshot, by way of Parquet: {dataset: rows}."""
        source = {"repository": {"connection": "backups", "snapshot": snapshot} | ({"datasets": datasets} if datasets else {})}
        return self.exported(source, stages, UNLOCKED, arguments, codes)

    def export_server(self, names=None, stages=(), arguments=(), codes=(0,), **options):
        """The rows of the server, by way of Parquet and no repository."""
        return self.exported(self.database.source(names, **options), stages, None, arguments, codes)

    def exported(self, source, stages, backups, arguments, codes):
        self.exports += 1
        folder = f"export-{self.exports}"
        file = self.write(f"{folder}-pipeline", source, {"files": {"path": folder}}, [*stages, {"codec": {"parquet": {"compression": "zstd"}}}], backups)
        self.ran = self.run(file, *arguments, codes=codes)
        return read_export(self.place.path(folder))

    def remove(self):
        self.place.remove()


def read_export(folder):
    """The rows of an export, {dataset: [row, ..]}; moments as whole numbers of their unit, what is null is left out."""
    expect((folder / "_restow_export.json").exists(), f"{folder} is no finished export")
    found = {}
    for dataset in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "tmp"):
        rows = found[dataset.name] = []
        for part in sorted(dataset.rglob("*.parquet")):
            table = pyarrow.parquet.ParquetFile(part).read()
            table = pyarrow.table([whole(column) for column in table.columns], names=table.column_names)
            rows += [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    return found


def whole(column):
    """A column of moments as numbers: Python's dates are narrower than those."""
    kind = column.type
    if pyarrow.types.is_timestamp(kind):
        return column.cast(pyarrow.int64())
    if (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)) and pyarrow.types.is_timestamp(kind.value_type):
        return column.cast(pyarrow.list_(pyarrow.int64()))
    return column


def none(lines, what, *shown):
    """Fails where there are differences."""
    expect(not lines, f"{what}:\n" + "\n".join(f"  {line}" for line in lines[:20]), *shown)


class Relay:
    """Passes bytes on to a server until it is cut: then connections break, and nobody listens until it is joined again. It can also be
    told to break after so many bytes of answers, and to fall silent: then the connections of that moment stay open and carry nothing more."""

    def __init__(self, host, port):
        self.behind, self.lock, self.open, self.closed, self.left = (host, port), threading.Lock(), set(), False, None
        self.listener = listening(0)
        self.port = self.listener.getsockname()[1]
        # Bytes of answers, and of both directions.
        self.passed = self.carried = 0
        self.silent = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self):
        with self.lock:
            # Closing alone would leave the thread that waits in `accept`, and the port taken.
            reset(self.listener)
            for connection in list(self.open):
                reset(connection)

    def cut_after(self, bytes):
        """Cuts by itself once it has passed so many bytes of answers on from now."""
        with self.lock:
            self.left = bytes

    def silence(self):
        """The far end of every connection is gone without a word: a machine that lost its power, a firewall that forgot."""
        with self.lock:
            self.silent |= self.open
            return len(self.silent)

    def is_cut(self):
        return self.listener.fileno() < 0

    def join(self):
        with self.lock:
            until = time.monotonic() + 10
            while self.listener.fileno() < 0:
                try:
                    self.listener = listening(self.port)
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.05)

    def close(self):
        self.closed = True
        self.cut()

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except (OSError, ValueError):
                time.sleep(0.01)
                continue
            try:
                server = socket.create_connection(self.behind, timeout=60)
            except OSError:
                reset(client)
                continue
            client.settimeout(None)
            server.settimeout(None)
            with self.lock:
                self.open |= {client, server}
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.pass_on, args=(source, sink, answers), daemon=True).start()

    def pass_on(self, source, sink, answers):
        try:
            while data := source.recv(1 << 16):
                if source in self.silent:
                    continue
                sink.sendall(data)
                self.carried += len(data)
                if answers:
                    self.passed += len(data)
                    if self.left is not None:
                        self.left -= len(data)
                        if self.left <= 0:
                            self.left = None
                            self.cut()
            with contextlib.suppress(OSError):
                if source not in self.silent:
                    sink.shutdown(socket.SHUT_WR)
        except OSError:
            for connection in (source, sink):
                reset(connection)
        with self.lock:
            if answers:
                self.open -= {source, sink}


def listening(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def reset(connection):
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def free_port():
    """A port where nobody listens."""
    with contextlib.closing(listening(0)) as probe:
        return probe.getsockname()[1]


__all__ = ["Failed", "Group", "Place", "Relay", "Vault", "expect", "free_port", "none", "read_export"]
