#!/usr/bin/env python3
"""The test vectors of schemas/repository-format.md, computed from its text and with none of restow's code.

    vectors.py          compares them with the document and with engine/store/src/keys/vectors; ends with 1 on a difference
    vectors.py --write  writes them there

Needs `cryptography` and `argon2-cffi`. All secrets are printed in the document: they protect nothing.
"""
import base64
import hashlib
import hmac
import json
import pathlib
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = CHECKOUT / "schemas/repository-format.md"
KEYRINGS = CHECKOUT / "engine/store/src/keys/vectors"
BEGIN, END = "<!-- vectors: begin -->\n", "<!-- vectors: end -->\n"

REPOSITORY = bytes(range(0xA0, 0xB0))
MASTERS = {1: bytes(range(0x00, 0x20)), 2: bytes(range(0x80, 0xA0))}
KEY, RECOVERY, PASSPHRASE = bytes(range(0xC0, 0xE0)), bytes(range(0xE0, 0x100)), b"correct horse"
SALT, NO_SALT = bytes(range(0x40, 0x60)), bytes(32)
PATH, HELLO = "data/ds/part-0.parquet", b"hello, restow"
SNAPSHOT, NONCE, RANDOM = "20260131T023000Z-k7q2mzx4ab", "00112233445566778899aabbccddeeff", "0f" * 16
ABORTED = "20260131T023100Z-aaaaaaaaaa"
SCHEMA = ("/////3AAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAEAAAAUAAAAEAAUAAgAAAAHAAwAAAAQABAAAAAAAAAF"
          "EAAAABgAAAAEAAAAAAAAAAIAAABpZAAABAAEAAQAAAAAAAAA")


def sha(data):
    return hashlib.sha256(data).hexdigest()


def derive(secret, salt, kind, path, length):
    info = b"restow/1/" + kind.encode() + b"\0" + REPOSITORY + path.encode()
    return HKDF(SHA256(), length, salt, info).derive(secret)


def nonce(prefix, chunk, last):
    return prefix + chunk.to_bytes(4, "big") + bytes([last])


def container(path, epoch, plain, salt=SALT):
    state = path.startswith("runs/")
    okm = derive(MASTERS[epoch], salt, "state" if state else "object", path, 39)
    commitment = derive(MASTERS[epoch], salt, "state-commit" if state else "commit", path, 32)
    header = b"restow\0\x01" + epoch.to_bytes(4, "big") + bytes(4) + salt + commitment
    out, chunks = header, max(1, -(-len(plain) // 65536))
    for i in range(chunks):
        out += AESGCM(okm[:32]).encrypt(nonce(okm[32:], i, i == chunks - 1), plain[65536 * i : 65536 * (i + 1)], header)
    return out


def name_part(name):
    key = derive(MASTERS[1], NO_SALT, "name", "", 32)
    return hmac.digest(key, name.encode(), "sha256")[:16].hex()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def clear(value):
    body = compact(value)[:-1]
    return body + b',"sha256":"' + sha(body).encode() + b'"}\n'


# ---- keyring


def slot(number, kind, secret, salt, epochs, argon=None):
    kek = derive(secret, salt, "wrap", "", 32)
    made = {"id": number, "kind": kind, "salt": salt.hex()} | ({"argon2id": argon} if argon else {}) | {"wraps": []}
    for epoch in epochs:
        once = bytes([number, epoch]) * 6
        aad = REPOSITORY + number.to_bytes(4, "big") + epoch.to_bytes(4, "big")
        wrapped = once + AESGCM(kek).encrypt(once, MASTERS[epoch], aad)
        made["wraps"].append({"epoch": epoch, "wrapped": wrapped.hex()})
    return made


def stretched(salt, argon):
    cost = argon["passes"], argon["memory_kib"], argon["lanes"]
    return hash_secret_raw(PASSPHRASE, salt, *cost, 32, Type.ID, 0x13)


def generation(number, previous, mac_epoch, epochs):
    argon = {"memory_kib": 64, "passes": 1, "lanes": 1}
    salts = [bytes([byte]) * 32 for byte in (0x11, 0x22, 0x33)]
    body = {
        "format": "restow-keyring", "version": "1", "repository": REPOSITORY.hex(), "generation": number, "flags": [],
        "previous": previous and sha(previous), "mac_epoch": mac_epoch,
        "slots": [
            slot(1, "key", KEY, salts[0], epochs),
            slot(2, "recovery", RECOVERY, salts[1], epochs),
            slot(3, "passphrase", stretched(salts[2], argon), salts[2], epochs, argon),
        ],
    }
    text = compact(body)[:-1]
    mac = hmac.digest(derive(MASTERS[mac_epoch], NO_SALT, "keyring", "", 32), text, "sha256")
    text += b',"hmac":"' + mac.hex().encode() + b'"'
    return text + b',"sha256":"' + sha(text).encode() + b'"}\n'


FIRST = generation(1, None, 1, [1])
SECOND = generation(2, FIRST, 1, [1, 2])


# ---- a repository of one snapshot with one file of 13 bytes and one artifact


def digests(data):
    blocks = b"".join(hashlib.sha256(data[i : i + 2**20]).digest() for i in range(0, len(data), 2**20))
    text = b"RSTWBLK1" + (2**20).to_bytes(4, "big") + bytes(4) + len(data).to_bytes(8, "big") + blocks
    return text + hashlib.sha256(text).digest()


def reference(path, stored):
    return {"path": path, "stored_bytes": len(stored), "sha256": sha(stored)}


def body(part, split, sealed, keyring):
    path, artifact = f"data/{part}/{SNAPSHOT}/part-{split}-{RANDOM}.parquet", f"snapshots/{SNAPSHOT}/artifacts/{part}/"
    artifact += name_part("class.json") if sealed else "class.json"
    objects = {path: container(path, 2, HELLO) if sealed else HELLO}
    file = {"path": path, "split": "f0", "rows": 1, "stored_bytes": len(objects[path]), "plain_bytes": len(HELLO),
            "sha256": sha(objects[path])}
    if sealed:
        file["header"] = base64.b64encode(objects[path][:80]).decode()
    else:
        objects[path + ".sha256"] = digests(HELLO)
        file["blocks"] = reference(path + ".sha256", objects[path + ".sha256"])
    objects[artifact] = container(artifact, 2, b"{}") if sealed else b"{}"
    counters = {"scanned": 1, "filtered": 0, "written": 1, "skipped": 0, "rejected": 0, "bytes_in": 20,
                "bytes_out": len(objects[path])}
    entry = reference(artifact, objects[artifact])
    entry = {"scope": "Städte", "name": "class.json", "path": artifact, "stored_bytes": entry["stored_bytes"],
             "plain_bytes": 2, "sha256": entry["sha256"]}
    inventory = clear({"format": "1", "kind": "inventory", "snapshot": SNAPSHOT,
                       "objects": [reference(path, objects[path]) for path in sorted(objects)]})
    name = f"inventory-{'1e' * 16}.json"
    objects[f"snapshots/{SNAPSHOT}/{name}"] = inventory
    return objects, {
        "format": "1", "features": {"required": [], "optional": []}, "snapshot": SNAPSHOT, "run_id": SNAPSHOT,
        "nonce": NONCE, "created": "2026-01-31T02:30:00Z", "finished": "2026-01-31T02:30:01.500Z", "restow": "0.1.0",
        "pipeline": {"name": "nightly", "hash": "00" * 32, "text": "{}"},
        "source": {"connector": "files", "fingerprint": "ff", "identity": {}, "consistency": "each file as it was"},
        "status": "complete", "failed": [],
        "datasets": [{"name": "Städte", "path_part": part, "schema": SCHEMA, "roles": {"id": "id"}, "rows": 1,
                      "bytes_in": 20, "counters": counters, "files": [file | {"sequence": 0, "inherited": False}],
                      "delete_files": [], "artifacts": [entry]}],
        "artifacts": [], "counters": counters, "keyring": keyring,
        "inventory": {"name": name, "stored_bytes": len(inventory), "sha256": sha(inventory)},
        "sequence": 0, "parents": [], "pins": [], "changes": [],
    }


def envelope(state, body=None, sealed=None, snapshot=SNAPSHOT):
    get = (body or {}).get
    return clear({"format": "1", "kind": "manifest", "features": {"required": [], "optional": []}, "state": state,
                  "snapshot": snapshot, "nonce": NONCE, "inventory": get("inventory"), "keyring": get("keyring"),
                  "body": sealed or body})


def repository(encrypted):
    keyring = {"generation": 2, "digest": sha(SECOND)} if encrypted else None
    part, split = (name_part("Städte"), name_part("f0")) if encrypted else ("St!c3!a4dte", "f0")
    objects, content = body(part, split, encrypted, keyring)
    manifest = f"snapshots/{SNAPSHOT}/manifest.json"
    sealed = encrypted and base64.b64encode(container(manifest, 2, compact(content))).decode()
    objects[manifest] = envelope("committed", content, sealed)
    if encrypted:
        objects |= {"keys/1.json": FIRST, "keys/2.json": SECOND}
    else:
        objects[f"snapshots/{ABORTED}/manifest.json"] = envelope("aborted", snapshot=ABORTED)
    header = {"format": "1", "kind": "repository", "restow": "0.1.0", "id": REPOSITORY.hex(), "encrypted": encrypted,
              "features": {"required": [], "optional": []}, "created": "2026-01-31T02:00:00Z"}
    return objects | {"repository.json": clear(header)}


# ---- the text


def wrapped(data, width=96):
    text = data.hex()
    return "\n".join(text[i : i + width] for i in range(0, len(text), width))


def block(kind, name, text):
    return f"```{kind} {name}\n{text}\n```\n"


def section():
    okm = derive(MASTERS[1], SALT, "object", PATH, 39)
    large = container(PATH, 2, bytes(i % 251 for i in range(65537)))
    values = {
        "key": okm[:32], "prefix": okm[32:], "commitment": derive(MASTERS[1], SALT, "commit", PATH, 32),
        "nonce of chunk 0 of 1": nonce(okm[32:], 0, 1), "nonce of chunk 1 of 3": nonce(okm[32:], 1, 0),
        "name key": derive(MASTERS[1], NO_SALT, "name", "", 32), "part for Städte": bytes.fromhex(name_part("Städte")),
        "mac key": derive(MASTERS[1], NO_SALT, "keyring", "", 32), "kek of slot 1": derive(KEY, b"\x11" * 32, "wrap", "", 32),
        "sha256 of the container of 65,537 bytes": bytes.fromhex(sha(large)),
    }
    out = "\n" + block("vector", "derived", "\n".join(f"{name} = {value.hex()}" for name, value in values.items()))
    for title, name, path, plain in [
        ("Container of `hello, restow` (13 bytes):", "container", PATH, HELLO),
        ("Container of the empty object:", "container-empty", PATH, b""),
        ("Container of `hello, restow` at `runs/r/intent.json`:", "container-state", "runs/r/intent.json", HELLO),
    ]:
        out += f"\n{title}\n\n" + block("vector", name, wrapped(container(path, 1, plain)))
    for title, encrypted in [("An encrypted repository", True), ("A plain repository", False)]:
        out += f"\n### {title}\n"
        for path, data in sorted(repository(encrypted).items()):
            name = ("encrypted:" if encrypted else "plain:") + path
            text = data.endswith(b"}\n") and data[:1] == b"{"
            out += "\n" + (block("object", name, data.decode().removesuffix("\n")) if text else block("hex", name, wrapped(data)))
    return out + "\n"


def main():
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    wanted = {DOCUMENT: before + BEGIN + section() + END + after, KEYRINGS / "1.json": FIRST.decode(),
              KEYRINGS / "2.json": SECOND.decode()}
    for path, content in wanted.items():
        if sys.argv[1:] == ["--write"]:
            path.write_text(content)
        elif path.read_text() != content:
            sys.exit(f"{path.relative_to(CHECKOUT)} does not hold the vectors that its text gives")


if __name__ == "__main__":
    main()
