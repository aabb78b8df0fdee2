"""Where repositories lie: a local folder, or MinIO. Both list their objects with a digest, past restow."""

import hashlib
import os
import re
import subprocess
import sys
import uuid
import xml.etree.ElementTree
from pathlib import Path
from urllib.parse import quote

from harness import CHECKOUT, Failed

sys.path.insert(0, str(CHECKOUT / "tests/servers"))
import minio  # noqa: E402  (its folder is known only now)


class Local:
    """A folder."""

    word = "local"
    # How long after a kill the store may still do what it was asked.
    settles = 0.0

    def __init__(self, place, name="repo", url=None):
        self.folder = place.path(name)
        self.url = url or name
        self.variables = {}

    def runs(self):
        """The paths of all run state and manifests, which is cheap enough to be asked often."""
        names = (path for part in ("runs", "snapshots") for path in (self.folder / part).rglob("*.json"))
        return [path.relative_to(self.folder).as_posix() for path in names]

    def objects(self):
        """Path and digest of every object. Temporary files are none."""
        found = {}
        for base, folders, names in os.walk(self.folder):
            if Path(base) == self.folder and "tmp" in folders:
                folders.remove("tmp")
            for name in names:
                path = Path(base, name)
                try:
                    found[path.relative_to(self.folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
                except FileNotFoundError:
                    continue  # a probe, gone between the two looks
        return found


class S3:
    """A prefix of its own in the bucket of the suite's MinIO."""

    word = "minio"
    settles = 0.1

    def __init__(self, server, port=None):
        self.server = server
        self.prefix = uuid.uuid4().hex
        self.url = f"s3://{minio.BUCKET}/{self.prefix}"
        self.variables = {**server.variables, **({"AWS_ENDPOINT": f"http://127.0.0.1:{port}"} if port else {})}

    def runs(self):
        """The paths of all run state and manifests."""
        return [*self.objects("runs/"), *self.objects("snapshots/")]

    def objects(self, below=""):
        """Path and etag (MD5 of the content, or of its parts) of every object."""
        found, token = {}, ""
        while True:
            query = {"list-type": "2", "prefix": f"{self.prefix}/{below}", **({"continuation-token": token} if token else {})}
            text = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
            status, _, body = minio.s3(self.server.port, self.server.secrets, "GET", f"/{minio.BUCKET}", query=text)
            if status != 200:
                raise Failed(f"MinIO lists nothing: {status} {body[:300]!r}")
            page = xml.etree.ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body))
            for item in page.iter("Contents"):
                found[item.findtext("Key")[len(self.prefix) + 1 :]] = item.findtext("ETag") + item.findtext("Size")
            token = page.findtext("NextContinuationToken") or ""
            if not token:
                return found


class Minio:
    """MinIO in a group of servers that belongs to this process alone."""

    def __init__(self):
        self.group = f"faults-{os.getpid()}"
        command = [CHECKOUT / "tests/servers/servers", "start", "minio", "--env", "--group", self.group, "--owner", str(os.getpid())]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed("MinIO does not start: the reason is above")
        settings = re.search(r"^RESTOW_TEST_S3_SETTINGS='?([^'\n]*)'?$", done.stdout, re.MULTILINE)[1]
        self.variables = dict(part.split("=", 1) for part in settings.split(" "))
        self.port = int(self.variables["AWS_ENDPOINT"].rsplit(":", 1)[1])
        self.secrets = {"user": self.variables["AWS_ACCESS_KEY_ID"], "password": self.variables["AWS_SECRET_ACCESS_KEY"]}

    def stop(self):
        """Stops it; its data goes too."""
        command = [CHECKOUT / "tests/servers/servers", "stop", "--all", "--group", self.group]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
