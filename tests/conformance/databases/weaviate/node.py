"""A Weaviate of a job's own, started as `tests/servers` starts them, killed and started again on the same data and ports."""

import contextlib
import http.client
import importlib.util
import shutil
import subprocess
import sys
import time

import connector
from harness import CHECKOUT, DIES_WITH_US, Failed

from .rest import Rest

# Last, and by its path: the official client is called as the module of the server.
sys.path.append(str(CHECKOUT / "tests/servers"))
import support  # noqa: E402

spec = importlib.util.spec_from_file_location("server_of_weaviate", CHECKOUT / "tests/servers/weaviate.py")
kinds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kinds)
KINDS = {"1.39": kinds.Weaviate, "1.27": kinds.OldWeaviate}
HOST, READY = "127.0.0.1", 90.0


class Node(connector.Node):
    def __init__(self, label, folder):
        from . import KEY, Weaviate, connection  # this package is only being made when this module is read

        self.kind, self.folder, self.process = KINDS[label](), folder, None
        folder.mkdir(parents=True)
        self.program, self.secrets, self.port = support.install(self.kind), self.kind.secrets(), support.free_port()
        key, addresses = self.secrets.get("key"), ((HOST, self.port), (HOST, self.secrets["grpc"]))
        self.server = Weaviate(label, connection(*addresses, bool(key)), {KEY: key} if key else {}, addresses, Rest(HOST, self.port, key))

    def start(self):
        command, variables = self.kind.command(self.program, self.folder, self.port, self.secrets)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*DIES_WITH_US, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **variables}, start_new_session=True)
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.kind.ready(self.port) and support.listens(self.process.pid, self.secrets["grpc"]):
                    return
            time.sleep(0.05)
        raise Failed(f"Weaviate {self.server.label} does not start: {support.tail(self.folder / 'log')}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
