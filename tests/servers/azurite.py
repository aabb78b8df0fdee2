"""Azurite, an Azure Blob server in memory, with its published development account."""

import base64
import hashlib
import hmac
import json
import shutil
from email.utils import formatdate

from support import BUCKET, HOST, Failure, Server, expect, request, tool

DEPENDENCIES_AS_OF = "2026-11-21"

# Public constants of the emulator, the same in every installation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite(Server):
    name = "azurite"
    version = "3.37.0"

    def install(self, folder):
        # What it depends on is pinned by a date: nothing published later is taken.
        npm = ["npm", "install", "--prefix", str(folder), f"--before={DEPENDENCIES_AS_OF}", "--omit=dev", "--ignore-scripts"]
        tool([*npm, "--no-audit", "--no-fund", f"azurite@{self.version}"], "install Node.js 20 or newer with npm")
        home = folder / "node_modules" / "azurite"
        package = json.loads((home / "package.json").read_text())
        if package["version"] != self.version:
            raise Failure(f"npm installed azurite {package['version']} instead of {self.version}")
        return str((home / package["bin"]["azurite-blob"]).relative_to(folder))

    def command(self, program, data, port, secrets):
        options = ["--blobHost", HOST, "--blobPort", port, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        return [shutil.which("node") or "node", program, *options], {"NODE_ENV": "production"}

    def ready(self, port):
        # Without a signature it refuses, and says its version.
        status, headers, _ = request(port, "GET", f"/{ACCOUNT}?comp=list")
        if headers.get("server", "") != f"Azurite-Blob/{self.version}":
            raise Failure(f"what answers on port {port} is {headers.get('server')!r}, not Azurite {self.version}")
        return status == 403

    def prepare(self, port, secrets):
        expect("create container", blob(port, "PUT", f"/{ACCOUNT}/{BUCKET}", {"restype": "container"}), 201)

    def env(self, port, secrets):
        settings = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://{HOST}:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
        return {"RESTOW_TEST_AZ": f"az://{BUCKET}", "RESTOW_TEST_AZ_SETTINGS": " ".join(f"{k}={v}" for k, v in settings.items())}


def blob(port, method, path, query=None, body=b"", headers=None):
    """A request signed with the account's key (Azure Storage "Shared Key", blob service)."""
    query, headers = query or {}, headers or {}
    own = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    own |= {name: value for name, value in headers.items() if name.startswith("x-ms-")}
    length = str(len(body)) if body else ""
    kind = headers.get("content-type", "")
    none_match, match = headers.get("if-none-match", ""), headers.get("if-match", "")
    lines = [method, "", "", length, "", kind, "", "", match, none_match, "", ""]
    lines += [f"{name}:{own[name]}" for name in sorted(own)]
    lines += [f"/{ACCOUNT}{path}", *(f"{name}:{query[name]}" for name in sorted(query))]
    signature = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    signed = {**headers, **own, "authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"}
    target = path + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")
    return request(port, method, target, signed, body)
