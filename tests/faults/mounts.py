"""Small file systems of our own, in a mount namespace of this process: nobody else sees them, and they go with it however it ends."""

import os
import shutil
import subprocess
import sys

INSIDE = "RESTOW_FAULTS_MOUNTS"
NAMESPACE = ["unshare", "--mount", "--propagation", "private"]


def alone():
    """Starts this program again inside a mount namespace, as root or, where the system lets users have one, as a user."""
    if os.environ.get(INSIDE):
        return
    for command in (NAMESPACE, [*NAMESPACE, "--user", "--map-root-user"]):
        if shutil.which("unshare") and subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0:
            os.environ[INSIDE] = "yes"
            os.execvp(command[0], [*command, sys.executable, *sys.argv])
    os.environ[INSIDE] = "no"


def possible():
    """Whether file systems can be mounted here."""
    return os.environ.get(INSIDE) == "yes"


class Small:
    """A tmpfs of so many bytes, mounted at `path`."""

    def __init__(self, path, size, options=""):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", f"size={size},mode=777{options}", "none", path)

    def read_only(self, on=True):
        """From now on nobody writes to it, or everybody again."""
        mount("-o", f"remount,{'ro' if on else 'rw'}", self.path)

    def close(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True, text=True)
