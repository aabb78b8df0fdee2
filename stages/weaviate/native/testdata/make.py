#!/usr/bin/env python3
"""Makes `<version>.tar.gz` beside this file: native backups of a real server, and what its REST API listed at that time.

    make.py SERVER     the program weaviate-server, which is started in a scratch folder on ports from 28300 up

Inside: backups named `<set>-<compression>-<state>`. The set `values` has classes with all types of values, `files` has
classes of several shards, with tenants and with files that are split. `expected-<set>-<state>.json` holds the objects by
`Class` or `Class/tenant`, without the `href` of references, which the server makes up. For servers before 1.29 `wal/` is a
log that was not flushed, with `expected-wal.json`.
"""

import base64
import contextlib
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import uuid

PORT = 28300
# Segments are never merged, and hold no class names. With `files`, chunks are small, so that files are split and are taken
# from a base backup; with `values` they are not, since each graph of vectors begins with 4 MiB of zeros.
SETTINGS = {"PERSISTENCE_LSM_SKIP_WRITE_CLASSNAME_ENABLED": "true", "PERSISTENCE_LSM_MAX_SEGMENT_SIZE": "1000"}
# Segments have no checksums unless the server is told so.
SMALL = {"PERSISTENCE_LSM_ENABLE_SEGMENTS_CHECKSUM_VALIDATION": "true", "BACKUP_MIN_CHUNK_SIZE": "2000",
         "BACKUP_CHUNK_TARGET_SIZE": "20000", "BACKUP_SPLIT_FILE_SIZE": "6000"}
NESTED = [{"name": "k", "dataType": ["text"]}, {"name": "n", "dataType": ["int"]},
          {"name": "deep", "dataType": ["object"], "nestedProperties": [{"name": "x", "dataType": ["number"]}]}]
TYPES = ["text", "int", "number", "boolean", "date", "uuid", "geoCoordinates", "phoneNumber", "blob",
         "text[]", "int[]", "number[]", "boolean[]", "date[]", "uuid[]"]
TENANTS = ["hot", "cold", "asleep", "never"]
SETS = {"values": ["All", "Named"], "files": ["Sharded", "Tenants", "Big", "Empty"]}
ONE_SHARD = {"virtualPerPhysical": 2}
NUMBER = [{"name": "n", "dataType": ["int"]}]
PLAIN = {"vectorizer": "none", "vectorIndexType": "flat", "shardingConfig": ONE_SHARD, "properties": NUMBER}


def call(method, path, body=None, accept=()):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v1{path}", data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        if error.code in accept:
            return None
        raise SystemExit(f"{method} {path}: {error.code} {error.read()[:500]}") from None


@contextlib.contextmanager
def server(program, folder, which, version):
    ports = {"CLUSTER_ADVERTISE_PORT": 1, "CLUSTER_GOSSIP_BIND_PORT": 1, "CLUSTER_DATA_BIND_PORT": 2, "RAFT_PORT": 3,
             "RAFT_INTERNAL_RPC_PORT": 4, "GRPC_PORT": 5}
    settings = SETTINGS | (SMALL if which == "files" else {}) | {name: str(PORT + offset) for name, offset in ports.items()} | {
        "PERSISTENCE_DATA_PATH": f"{folder}/data", "ENABLE_MODULES": "backup-filesystem",
        "BACKUP_FILESYSTEM_PATH": f"{folder}/backups", "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
        "DEFAULT_VECTORIZER_MODULE": "none", "API_BASED_MODULES_DISABLED": "true", "CLUSTER_HOSTNAME": "node1",
        "CLUSTER_IN_LOCALHOST": "true", "CLUSTER_ADVERTISE_ADDR": "127.0.0.1", "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_JOIN": f"node1:{PORT + 3}", "DISABLE_TELEMETRY": "true", "GO_PROFILING_DISABLE": "true",
        "DISK_USE_READONLY_PERCENTAGE": "100", "DISK_USE_WARNING_PERCENTAGE": "100", "LOG_LEVEL": "error"}
    process = subprocess.Popen([program, "--scheme", "http", "--host", "127.0.0.1", "--port", str(PORT)], env=os.environ | settings)
    try:
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if call("GET", "/.well-known/ready", accept=(503,)) is None:
                    version.append(call("GET", "/meta")["version"])
                    break
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def uid(number):
    return str(uuid.UUID(bytes=random.Random(number).randbytes(16), version=4))


def vector(length, seed):
    pick = random.Random(seed)
    return [struct.unpack("<f", struct.pack("<f", pick.uniform(-2, 2)))[0] for _ in range(length)]


def everything(number, new):
    nested = {"k": f"näme {number}", "n": number, "deep": {"x": number / 3}}
    found = {
        "p_text": f"text «{number}» \u2028 <b>&\" \\ 😀", "p_int": number * 1000003 - 5, "p_number": number / 7 + 1e-9,
        "p_boolean": number % 2 == 0, "p_date": f"2010-01-02T03:04:05.{number:03d}Z", "p_uuid": uid(10**6 + number),
        "p_geoCoordinates": {"latitude": 1.5 + number / 100, "longitude": -2.25},
        "p_phoneNumber": {"input": "020 1234567", "defaultCountry": "nl"},
        "p_blob": base64.b64encode(bytes(range(1 + number))).decode(), "p_text_list": [f"a{number}", "", "ü"],
        "p_int_list": [number, -1, 9007199254740991], "p_number_list": [0.1, -1e300, float(number)],
        "p_boolean_list": [True, False], "p_date_list": ["2020-02-29T00:00:00.123456789+02:00"],
        "p_uuid_list": [uid(number), uid(number + 1)], "p_object": nested, "p_object_list": [nested, {"k": "only"}]}
    if new:
        found["p_blobHash"] = base64.b64encode(b"hash %d" % number).decode()
    if number and number % 3 == 0:
        found["p_ref"] = [{"beacon": f"weaviate://localhost/All/{uid(100)}"}]
    return {k: v for k, v in found.items() if number % 5 != 1 or k in ("p_text", "p_int")}


def batch(objects):
    for item in call("POST", "/batch/objects", {"objects": objects}):
        if item["result"].get("status", "SUCCESS") != "SUCCESS":
            raise SystemExit(f"refused: {item}")


def one(name, number, properties, tenant=None, **vectors):
    return {"class": name, "id": uid(number), "properties": properties} | ({"tenant": tenant} if tenant else {}) | vectors


def define_values(new):
    properties = [{"name": f"p_{t.replace('[]', '_list')}", "dataType": [t]} for t in TYPES + (["blobHash"] if new else [])]
    properties += [{"name": "p_object", "dataType": ["object"], "nestedProperties": NESTED},
                   {"name": "p_object_list", "dataType": ["object[]"], "nestedProperties": NESTED}]
    kind = {"vectorizer": {"none": {}}, "vectorIndexType": "flat"}
    named = {"small": kind, "wide": kind}
    if new:
        named["colbert"] = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": {"multivector": {"enabled": True}}}
    call("POST", "/schema", PLAIN | {"class": "All", "description": "all types", "properties": properties})
    call("POST", "/schema/All/properties", {"name": "p_ref", "dataType": ["All"]})
    call("POST", "/schema", {"class": "Named", "vectorConfig": named, "shardingConfig": ONE_SHARD, "properties": NUMBER})
    if new:
        call("POST", "/aliases", {"alias": "Everything", "class": "All"})
        call("POST", "/aliases", {"alias": "Aaa", "class": "All"})


def define_files(_):
    call("POST", "/schema", PLAIN | {"class": "Sharded", "shardingConfig": {"desiredCount": 2, "virtualPerPhysical": 2}})
    call("POST", "/schema", {"class": "Tenants", "vectorizer": "none", "vectorIndexType": "flat", "multiTenancyConfig": {"enabled": True}, "properties": NUMBER})
    call("POST", "/schema", PLAIN | {"class": "Big", "properties": [{"name": "t", "dataType": ["text"], "indexFilterable": False, "indexSearchable": False}]})
    call("POST", "/schema", PLAIN | {"class": "Empty"})
    call("POST", "/schema/Tenants/tenants", [{"name": name} for name in TENANTS])


def first_values(new):
    for n in range(12):
        # One at a time, since references to objects of the same batch are refused.
        batch([one("All", 100 + n, everything(n, new), **({"vector": vector(4, n)} if n % 4 else {}))])
    for n in range(14):
        vectors = {"small": vector(3, n), "wide": vector(9, n)} | ({"colbert": [vector(2, n * 9 + k) for k in range(1 + n % 3)]} if new else {})
        dropped = {0: "small", 1: "wide", 2: "colbert"}.get(n % 5)
        batch([one("Named", 200 + n, {"n": n}, vectors={k: v for k, v in vectors.items() if k != dropped})])


def first_files(_):
    batch([one("Sharded", 300 + n, {"n": n}, vector=vector(2, n)) for n in range(30)])
    for tenant in TENANTS[:3]:
        batch([one("Tenants", 400 + n, {"n": n}, tenant, vector=vector(2, n)) for n in range(8)])
    batch([one("Big", 500 + n, {"t": random.Random(n).randbytes(150).hex()}, vector=vector(8, n)) for n in range(30)])


def second_values(new):
    call("PUT", f"/objects/All/{uid(104)}", one("All", 104, everything(30, new), vector=vector(4, 30)))
    call("PATCH", f"/objects/All/{uid(105)}", {"class": "All", "properties": {"p_int": 7}})
    call("POST", "/batch/references", [{"from": f"weaviate://localhost/All/{uid(103)}/p_ref", "to": f"weaviate://localhost/All/{uid(101)}"}])
    batch([one("Named", 200 + n, {"n": -n}, vectors={"small": vector(3, n + 50)}) for n in (3, 30)])
    for name, number in (("All", 106), ("Named", 205)):
        call("DELETE", f"/objects/{name}/{uid(number)}")


def second_files(_):
    batch([one("Sharded", 300 + n, {"n": -n}) for n in range(25, 40)])
    for tenant in ("hot", "asleep"):
        batch([one("Tenants", 400 + n, {"n": n + 100}, tenant) for n in (1, 20)])
        call("DELETE", f"/objects/Tenants/{uid(402)}?tenant={tenant}")
        call("DELETE", f"/objects/Tenants/{uid(420)}?tenant={tenant}")
    batch([one("Big", 500 + n, {"t": random.Random(n + 90).randbytes(150).hex()}, vector=vector(8, n)) for n in range(20, 50)])
    for name, number in (("Sharded", 301), ("Sharded", 302), ("Big", 503)):
        call("DELETE", f"/objects/{name}/{uid(number)}")


def without_href(value):
    if isinstance(value, dict):
        return {k: without_href(v) for k, v in value.items() if k != "href" or "beacon" not in value}
    return [without_href(v) for v in value] if isinstance(value, list) else value


def listing(name, tenant=None):
    query = f"class={name}&limit=1000&after=&include=vector" + (f"&tenant={tenant}" if tenant else "")
    kept = ("id", "creationTimeUnix", "lastUpdateTimeUnix", "properties", "vector", "vectors")
    found = call("GET", f"/objects?{query}")["objects"]
    return [without_href({k: o[k] for k in kept if o.get(k)}) for o in found]


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def listed(which):
    found = {name: listing(name) for name in SETS[which] if name != "Tenants"}
    return found | ({f"Tenants/{name}": listing("Tenants", name) for name in TENANTS} if which == "files" else {})


def status(tenants, value):
    call("PUT", "/schema/Tenants/tenants", [{"name": name, "activityStatus": value} for name in tenants])
    time.sleep(2)


def backup(name, level, base=None):
    body = {"id": name, "include": SETS[name.split("-")[0]], "config": {"CompressionLevel": level}}
    call("POST", "/backups/filesystem", body | ({"incremental_base_backup_id": base} if base else {}))
    while (found := call("GET", f"/backups/filesystem/{name}"))["status"] != "SUCCESS":
        if found["status"] in ("FAILED", "CANCELED"):
            raise SystemExit(f"backup {name}: {found}")
        time.sleep(0.2)


def values(out, new):
    define_values(new)
    first_values(new)
    if new:
        write(out / "expected-values-1.json", listed("values"))
    backup("values-gzip-1", "DefaultCompression")
    second_values(new)
    write(out / "expected-values-2.json", listed("values"))
    for name, level in (("zstd", "ZstdBestCompression"), ("none", "NoCompression")) if new else (("gzip", "BestCompression"),):
        backup(f"values-{name}-2", level)


def files(out, new):
    """Tenant `cold` is inactive in both backups, `asleep` is made active and inactive again in between."""
    define_files(new)
    first_files(new)
    if new:
        write(out / "expected-files-1.json", listed("files"))
    status(["cold", "asleep"], "COLD")
    backup("files-zstd-1" if new else "files-gzip-1", "ZstdDefaultCompression" if new else "BestSpeed")
    status(["cold", "asleep"], "HOT")
    second_files(new)
    write(out / "expected-files-2.json", listed("files"))
    status(["cold", "asleep"], "COLD")
    if new:
        backup("files-zstd-2", "ZstdBestSpeed", base="files-zstd-1")
    else:
        backup("files-gzip-2", "BestCompression")


def unflushed(out, folder):
    """A log with updates and deletions, copied while the server had it open."""
    call("POST", "/schema", {"class": "Log", "vectorizer": "none", "vectorIndexType": "flat", "properties": [{"name": "n", "dataType": ["int"]}]})
    batch([one("Log", 600 + n, {"n": n}, vector=vector(2, n)) for n in range(20)])
    batch([one("Log", 600 + n, {"n": -n}) for n in (3, 4, 21)])
    for n in (4, 5):
        call("DELETE", f"/objects/Log/{uid(600 + n)}")
    batch([one("Log", 605, {"n": 55})])
    (out / "wal").mkdir()
    for log in (folder / "data" / "log").glob("*/lsm/objects/*.wal"):
        shutil.copy(log, out / "wal")
    write(out / "expected-wal.json", listing("Log"))


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder, version = pathlib.Path(scratch), []
        out = folder / "out"
        out.mkdir()
        for which, fill in (("values", values), ("files", files)):
            with server(sys.argv[1], folder / which, which, version):
                new = tuple(int(part) for part in version[0].split(".")) >= (1, 37)
                fill(out, new)
                if which == "values" and not new:
                    unflushed(out, folder / which)
            for found in (folder / which / "backups").iterdir():
                # Of an older server the second state is enough; the first made it have several segments.
                if new or found.name.endswith("2"):
                    shutil.move(found, out)
        target = pathlib.Path(__file__).with_name(f"{version[0]}.tar.gz")
        with tarfile.open(target, "w:gz") as archive:
            for path in sorted(out.rglob("*")):
                if path.is_file():
                    archive.add(path, path.relative_to(out))
        print(target, target.stat().st_size, "bytes")


main()
