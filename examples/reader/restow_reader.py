#!/usr/bin/env python3
"""Prints the rows of a restow repository on a local disk as JSON lines, written from schemas/repository-format.md.

Every digest, MAC and tag is checked on the way; the exit codes are those of the document: 7, 10, 12, 13, 14.
"""
import argparse, base64, datetime, hashlib, hmac, json, os, pathlib, re, sys
import pyarrow, pyarrow.parquet
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

class Refused(Exception):
    """Exit code, text."""
def need(condition, text, code=13):
    if not condition:
        raise Refused(code, text)
def sha(data):
    return hashlib.sha256(data).hexdigest()
def stored(entries):
    return [(entry["path"], entry["stored_bytes"], entry["sha256"]) for entry in entries]
def decrypt(key, nonce, data, aad, what):
    try:
        return AESGCM(key).decrypt(nonce, data, aad)
    except InvalidTag:
        raise Refused(13, what + " is damaged: a tag does not match")

def clear(data, what):
    """Clear metadata: its own digest first, then format and features."""
    need(data[-78:] == b',"sha256":"%s"}\n' % sha(data[:-78]).encode(), what + " is damaged: its own digest differs")
    value = json.loads(data)
    need(value.get("format") == "1", f"{what} has format {value.get('format')!r}", 14)
    need(not value.get("features", {}).get("required"), f"{what} requires {value.get('features')}", 14)
    return value

class Repository:
    def __init__(self, root, secret):
        self.root, self.masters, self.digests = pathlib.Path(root), {}, {}
        header = clear(self.read("repository.json", 10), "repository.json")
        need(header["kind"] == "repository", "repository.json is something else")
        self.id, self.encrypted = bytes.fromhex(header["id"]), header["encrypted"]
        if self.encrypted:
            need(secret is not None, "the repository is encrypted and no key was given", 12)
            return self.open_keyring(secret)
        need(secret is None, "a key was given, but the repository is not encrypted", 7)
        need(not (self.root / "keys/1.json").exists(), "it says that it is plain, but a keyring is there")
    def read(self, path, code=13):
        need((self.root / path).is_file(), path + " is missing", code)
        return (self.root / path).read_bytes()
    def derive(self, secret, salt, kind, path, length):
        info = b"restow/1/" + kind.encode() + b"\0" + self.id + path.encode()
        return HKDF(SHA256(), length, salt, info).derive(secret)

    def open_keyring(self, secret):
        found = {int(p.stem): p.read_bytes() for p in self.root.glob("keys/[1-9]*.json") if p.stem.isdecimal()}
        need(found, "there is no keyring")
        rings, opened, damaged, before, skipped = {}, {}, [], None, set()
        for number in sorted(found):
            try:
                rings[number] = self.parse_ring(number, found[number])
            except (Refused, KeyError, TypeError, ValueError) as problem:
                need(problem.args[0] != 14, f"generation {number} of the keyring needs a newer reader", 14)
                damaged.append(f"generation {number} of the keyring is damaged: {problem}")
        for number, ring in rings.items():
            masters = self.unwrap(ring, secret)
            if masters and any(self.masters.get(epoch, master) != master for epoch, master in masters.items()):
                ring["repository"] = "of other masters than a generation before"
            elif masters:
                opened[number], self.masters = masters, self.masters | masters
        need(opened, (damaged or ["the key opens no slot of the keyring"])[0], 13 if damaged else 12)
        for number, ring in rings.items():
            if number - 1 not in skipped and self.follows(ring, before):
                before, self.digests[number] = ring, sha(found[number])
            else:
                skipped.add(number)
        if damaged or skipped or len(found) != max(found):
            print("warning: the keyring has gaps or breaks:", *damaged, "skipped", skipped, file=sys.stderr)
        need(before, "no generation of the keyring holds")
        need(before["generation"] in opened, "this key was removed from the keyring", 12)
        self.masters = opened[before["generation"]]
    def parse_ring(self, number, data):
        end = re.fullmatch(rb'(.*),"hmac":"([0-9a-f]{64})","sha256":"([0-9a-f]{64})"}\n', data, re.S)
        need(end and len(data) <= 2**20 and sha(data[: end.start(3) - 11]) == end[3].decode(), "its own digest differs")
        ring = json.loads(end[1] + b"}")
        need(ring["version"] == "1" and ring["flags"] == [], "another version", 14)
        names = set("format version repository generation flags previous mac_epoch slots".split())
        slots, epochs = ring["slots"], len(ring["slots"][0]["wraps"])
        need((set(ring), ring["format"], ring["generation"]) == (names, "restow-keyring", number), "it is another's")
        need(len({slot["id"] for slot in slots}) == len(slots) <= 64, "two slots have one number")
        need((ring["previous"] is None) == (number == 1) and 1 <= ring["mac_epoch"] <= epochs, "wrong epoch")
        for slot in slots:
            need([wrap["epoch"] for wrap in slot["wraps"]] == list(range(1, epochs + 1)), "epochs are not 1, 2, 3")
            need((slot["kind"] == "passphrase") == ("argon2id" in slot), "argon2id belongs to passphrases")
            cost = slot.get("argon2id", {"memory_kib": 8, "passes": 1, "lanes": 1})
            need(8 <= cost["memory_kib"] <= 2**18 and {cost["passes"], cost["lanes"]} <= {*range(1, 17)}, "argon2id")
        return ring | {"epochs": epochs, "signed": end[1], "hmac": bytes.fromhex(end[2].decode())}
    def unwrap(self, ring, secret):
        """The masters of the slot that the secret opens, or None."""
        for slot in (slot for slot in ring["slots"] if (secret[0] == "passphrase") == ("argon2id" in slot)):
            raw, salt, cost = secret[1], bytes.fromhex(slot["salt"]), slot.get("argon2id")
            if cost:
                from argon2.low_level import Type, hash_secret_raw
                raw = hash_secret_raw(raw, salt, cost["passes"], cost["memory_kib"], cost["lanes"], 32, Type.ID, 0x13)
            kek, masters = self.derive(raw, salt, "wrap", "", 32), {}
            try:
                for wrap in slot["wraps"]:
                    data, epoch = bytes.fromhex(wrap["wrapped"]), wrap["epoch"]
                    aad = self.id + slot["id"].to_bytes(4, "big") + epoch.to_bytes(4, "big")
                    masters[epoch] = decrypt(kek, data[:12], data[12:], aad, "a wrap")
                return masters
            except Refused:
                pass
    def follows(self, ring, before):
        number, epoch, low = ring["generation"], ring["mac_epoch"], before["epochs"] if before else 1
        if ring["repository"] != self.id.hex() or epoch not in self.masters or min(ring["epochs"], epoch) < low:
            return False
        expected = (self.digests[number - 1], low) if number - 1 in self.digests else (ring["previous"], epoch)
        if number == 1 and epoch != ring["epochs"] or (ring["previous"], epoch) != expected:
            return False
        mac = hmac.digest(self.derive(self.masters[epoch], bytes(32), "keyring", "", 32), ring["signed"], "sha256")
        return hmac.compare_digest(mac, ring["hmac"])

    def open_container(self, path, data):
        body, header, epoch = len(data) - 80, data[:80], int.from_bytes(data[8:12], "big")
        count = -(-body // 65552)
        need(body == 16 or body - 65552 * (count - 1) >= 17, path + " has a length that no container has")
        need(header[:7] == b"restow\0" and header[7] != 0, path + " is no container")
        need(header[7] == 1, path + " is a newer container", 14)
        need(header[12:16] == bytes(4) and epoch in self.masters, path + " has a damaged header")
        master, salt = self.masters[epoch], header[16:48]
        kind, commit = ("state", "state-commit") if path.startswith("runs/") else ("object", "commit")
        commitment = self.derive(master, salt, commit, path, 32)
        need(hmac.compare_digest(commitment, header[48:]), path + " is damaged, or another object")
        okm, plain = self.derive(master, salt, kind, path, 39), []
        for i in range(count):
            chunk, nonce = data[80 + 65552 * i : 80 + 65552 * (i + 1)], okm[32:] + i.to_bytes(4, "big")
            plain.append(decrypt(okm[:32], nonce + bytes([i == count - 1]), chunk, header, f"{path}, chunk {i},"))
        return b"".join(plain)

    def envelope(self, snapshot):
        path = f"snapshots/{snapshot}/manifest.json"
        envelope = clear(self.read(path, 10), path)
        need((envelope["kind"], envelope["snapshot"]) == ("manifest", snapshot), path + " is another object's")
        need(envelope["state"] == "committed", f"snapshot {snapshot} was aborted", 10)
        need(not (self.root / f"control/deleted/{snapshot}").exists(), f"snapshot {snapshot} was deleted", 10)
        return path, envelope
    def snapshots(self):
        for folder in sorted(self.root.glob("snapshots/*")):
            try:
                self.envelope(folder.name)
                yield folder.name
            except Refused as problem:
                if problem.args[0] != 10:
                    yield folder.name  # damaged: it must not be passed over
    def manifest(self, snapshot):
        path, envelope = self.envelope(snapshot)
        body, keyring = envelope["body"], envelope["keyring"]
        need((keyring is not None) == self.encrypted, path + " does not fit the encryption of the repository")
        if self.encrypted:
            need(self.digests.get(keyring["generation"]) == keyring["digest"], "the keyring was rolled back")
            body = json.loads(self.open_container(path, base64.b64decode(body, validate=True)))
        for name in ("format", "features", "snapshot", "nonce", "inventory", "keyring"):
            need(body.get(name) == envelope.get(name), f"{path}: body and envelope differ in {name}")
        # This reader knows no feature. Changes alone may be optional, and do not concern it then.
        files = [file for dataset in body["datasets"] for file in dataset["files"]]
        used = [body["parents"], body["pins"], body["changes"] and "changes" not in body["features"]["optional"]]
        used += [d["delete_files"] for d in body["datasets"]] + [f["sequence"] or f["inherited"] for f in files]
        need(not body["sequence"] and not any(used), path + " uses a feature that it does not name")
        body["every_artifact"] = body["artifacts"] + [a for d in body["datasets"] for a in d["artifacts"]]
        return self.check_inventory(snapshot, body, files)

    def check_inventory(self, snapshot, body, files):
        named, path = body["inventory"], f"snapshots/{snapshot}/{body['inventory']['name']}"
        data = self.read(path)
        need((len(data), sha(data)) == (named["stored_bytes"], named["sha256"]), path + " is not the one that is named")
        inventory, objects = clear(data, path), body["every_artifact"].copy()
        need((inventory["kind"], inventory["snapshot"]) == ("inventory", snapshot), path + " is another snapshot's")
        for file in files:
            parts = file["path"].split("/")
            need(len(parts) == 4 and (parts[0], parts[2]) == ("data", snapshot), file["path"] + " is misplaced")
            objects += [file] if self.encrypted else [file, file["blocks"]]
            need(self.encrypted or file["blocks"]["path"] == file["path"] + ".sha256", file["path"] + ": wrong digests")
        below = f"snapshots/{snapshot}/artifacts/"
        need(all(a["path"].startswith(below) for a in body["every_artifact"]), "an artifact is misplaced")
        need(sorted(stored(objects)) == stored(inventory["objects"]), path + " does not list what the manifest names")
        return body
    def plain(self, entry, file=True):
        """The plain bytes of a file or artifact, every digest of it checked."""
        path, data = entry["path"], self.read(entry["path"])
        need([(path, len(data), sha(data))] == stored([entry]), path + " is not what the manifest names")
        if self.encrypted:
            need(not file or data[:80] == base64.b64decode(entry["header"]), path + " has another header")
            data = self.open_container(path, data)
        elif file:
            blocks = b"".join(hashlib.sha256(data[i : i + 2**20]).digest() for i in range(0, len(data), 2**20))
            text = b"RSTWBLK1" + (2**20).to_bytes(4, "big") + bytes(4) + len(data).to_bytes(8, "big") + blocks
            text += hashlib.sha256(text).digest()
            need((self.read(path + ".sha256"), sha(text)) == (text, entry["blocks"]["sha256"]), path + ": bad digests")
        need(len(data) == entry["plain_bytes"], path + " has another plain length")
        return data

def rows(repository, file):
    data, arrow = pyarrow.BufferReader(repository.plain(file)), file["path"].endswith(".arrow")
    table = pyarrow.ipc.open_file(data).read_all() if arrow else pyarrow.parquet.read_table(data)
    need(table.num_rows == file["rows"], f"{file['path']} has {table.num_rows} rows, not {file['rows']}")
    return table.to_pylist()
def as_json(value):
    moment = isinstance(value, datetime.datetime) and value.isoformat().replace("+00:00", "Z")
    return moment or (value.hex() if isinstance(value, bytes) else str(value))
def secret_of(options):
    passphrase, key = os.environ.get("RESTOW_PASSPHRASE"), os.environ.get("RESTOW_KEY")
    key = (pathlib.Path(options.key_file).read_text() if options.key_file else key or "").strip()
    if not key:
        return ("passphrase", passphrase.encode()) if passphrase else None
    need(re.fullmatch("rsk1_[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", key), "the key is not `rsk1_` and 43 characters", 12)
    return "key", base64.urlsafe_b64decode(key[5:] + "=")

def main():
    about = argparse.ArgumentParser(description=__doc__)
    about.add_argument("repository")
    about.add_argument("--key-file", help="the key or recovery key; else RESTOW_KEY, else RESTOW_PASSPHRASE")
    about.add_argument("--snapshot", default="latest", help="an id; default: the newest")
    about.add_argument("--list", action="store_true", help="list snapshots and datasets")
    about.add_argument("--dataset", help="only this dataset")
    about.add_argument("--verify-only", action="store_true", help="decode everything, print no rows")
    about.add_argument("--limit", type=int, default=sys.maxsize, help="at most so many rows of each dataset")
    options = about.parse_args()
    repository = Repository(options.repository, secret_of(options))
    found = list(repository.snapshots())
    if options.list:
        listed = [(name, d["rows"], d["name"]) for name in found for d in repository.manifest(name)["datasets"]]
        return print(*("%s  %8d rows  %s" % row for row in listed), sep="\n")
    body = repository.manifest((found or ["of any name"])[-1] if options.snapshot == "latest" else options.snapshot)
    chosen = [dataset for dataset in body["datasets"] if options.dataset in (None, dataset["name"])]
    need(chosen, f"no dataset {options.dataset!r}", 10)
    for artifact in body["every_artifact"]:
        repository.plain(artifact, file=False)
    for dataset in chosen:
        table = [row for file in dataset["files"] for row in rows(repository, file)]
        need(len(table) == dataset["rows"], f"dataset {dataset['name']} has {len(table)} rows, not {dataset['rows']}")
        for row in [] if options.verify_only else table[: options.limit]:
            print(json.dumps(row, ensure_ascii=False, default=as_json))
        print(f"{dataset['name']}: {len(table)} rows, all of them verified", file=sys.stderr)

if __name__ == "__main__":
    try:
        main()
    except (Refused, LookupError, TypeError, ValueError, AttributeError) as problem:
        code, text = problem.args if isinstance(problem, Refused) else (13, repr(problem))
        sys.exit(print("refused:", text, file=sys.stderr) or code)
