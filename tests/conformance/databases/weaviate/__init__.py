"""Weaviate: the newest version with keys and roles, and the oldest, anonymous one. The servers are those of `tests/servers`."""

import contextlib
import datetime
import io
import os
import warnings

with contextlib.redirect_stderr(io.StringIO()):
    import weaviate  # one of its libraries warns of another one

from connector import Connector, Server

from . import fixture, node, rows, world
from .rest import Rest

warnings.simplefilter("ignore")
KEY = "WEAVIATE_API_KEY"
VARIABLES = [("1.39", "RESTOW_TEST_WEAVIATE"), ("1.27", "RESTOW_TEST_WEAVIATE_OLD")]


class Weaviate(Server):
    """A server, with a client of REST as its handle."""

    speaks = ("http", "grpc")

    def at(self, addresses):
        rest, grpc = addresses
        return Weaviate(self.label, connection(rest, grpc, bool(self.handle.key)), self.variables, addresses, self.handle)

    def keyed(self, key):
        """The same server, met with another key."""
        return Weaviate(self.label, self.connection, {KEY: key}, self.addresses, Rest(self.handle.host, self.handle.port, key))

    def client(self):
        """The official client."""
        (host, port), (grpc_host, grpc_port) = self.addresses
        auth = weaviate.classes.init.Auth.api_key(self.handle.key) if self.handle.key else None
        return weaviate.connect_to_custom(http_host=host, http_port=port, http_secure=False, grpc_host=grpc_host, grpc_port=grpc_port, grpc_secure=False,
                                          auth_credentials=auth, skip_init_checks=True)


def connection(rest, grpc, keyed):
    found = {"url": f"http://{rest[0]}:{rest[1]}", "grpc": f"{grpc[0]}:{grpc[1]}"}
    return {"weaviate": found | ({"api_key": "${secret:env:" + KEY + "}"} if keyed else {})}


def address(text):
    host, port = text.split("://")[-1].rsplit(":", 1)
    return host, int(port)


class Database(Connector):
    name = "weaviate"
    groups = ("tenants", "references", "rights", "limits", "health", "exports", "pushed")
    for_kills = {"only": ["Org", "Person", "Article", "Tenants", "Named", "Everything"], "tenants": 9, "per_tenant": 60}
    for_steps = {"only": ["Org", "Person", "Article", "Named"]}
    slow = {"page_bytes": "16KiB"}
    slow_sink = {"batch_bytes": "4KiB"}
    settled = {"consistency": "settled"}
    key_words = ("api_key", "WEAVIATE_API_KEY")
    all_of_it = {"roles": True}
    evaluations = {"": {}, "by the index": {"inverted_index": "trust"}}

    def servers(self):
        found = []
        for label, variable in VARIABLES:
            if variable not in os.environ:
                raise LookupError(f"{variable} is not set: eval \"$(tests/servers/servers start weaviate weaviate-1.27 --env | sed 's/^/export /')\"")
            rest, grpc, key = address(os.environ[variable]), address(os.environ[f"{variable}_GRPC"]), os.environ.get(f"{variable}_KEY")
            found.append(Weaviate(label, connection(rest, grpc, bool(key)), {KEY: key} if key else {}, (rest, grpc), Rest(*rest, key)))
        return found

    def node(self, label, folder):
        return node.Node(label, folder)

    def changes(self, method, path):
        return path.endswith("/BatchObjects") if method == "RPC" else method != "GET" and not path.startswith("/v1/graphql")

    # ---- what a server holds

    def fill(self, server, prefix, seed, full, like=None, **what):
        return fixture.fill(server.handle, seed, prefix, full, version=like.handle.version() if like else None, **what)

    def empty(self, server, prefix, seed):
        """Also a class whose tenants have no objects."""
        names = fixture.fill(server.handle, seed, prefix, only=["Empty"])
        tenants = {"class": f"{prefix}EmptyTenants", "vectorizer": "none", "multiTenancyConfig": {"enabled": True}, "properties": [fixture.prop("text", "text")]}
        fixture.put(server.handle, [fixture.Plan(tenants, tenants={"hot": "HOT", "cold": "COLD"}), fixture.Plan({"class": f"{prefix}Nothing", "vectorizer": "none"}),
                                    fixture.Plan(tenants | {"class": f"{prefix}NoTenants"})])
        return [*names, f"{prefix}EmptyTenants", f"{prefix}Nothing", f"{prefix}NoTenants"]

    def wipe(self, server, prefix):
        fixture.wipe(server.handle, prefix)

    def read(self, server, prefix="", names=None):
        return world.read(server.handle, prefix, names, server.client)

    def present(self, server):
        return sorted(server.handle.classes())

    def datasets(self, found):
        return sorted(found.classes)

    def part(self, found, names):
        return found.of(names)

    def differences(self, expected, actual, rename=None, across=False):
        return world.differences(expected, actual, rename=rename, across=across)

    def restored(self, backup, there, rename, rule):
        return world.restored(backup, there, rename, rule)

    def shared(self, found, other, rename):
        return {rename[name]: sorted(set(objects) & set(other.objects[rename[name], tenant])) for (name, tenant), objects in found.objects.items()}

    def beside(self, expected, actual, rename=None):
        lines = world.differences(expected, actual, rename=rename, limit=1000)
        found = {kind: [line for line in lines if line.startswith(f"{kind}/")] for kind in ("aliases", "roles") if getattr(expected, kind)}
        # A server tells nobody its keys: users cannot be made again, and none may be pretended.
        return found | ({"users": [f"users/{name} was made" for name in actual.users]} if expected.users else {})

    def confirm(self, server, found):
        with server.client() as client:
            return world.cross_check(found, client)

    def row_differences(self, found, datasets, rename=None, times=True):
        return rows.differences(found, datasets, rename, times)

    # ---- pipelines

    def source(self, names=None, **options):
        return {"weaviate": {"connection": "server", "cold_tenants": "activate"} | ({"collections": names} if names else {}) | options}

    def sink(self, **options):
        return {"weaviate": {"connection": "server", **options}}

    # ---- the plain dataset

    def make(self, server, dataset):
        kinds = {"name": "text", "number": "int", "ratio": "number", "flag": "boolean", "day": "date", "tags": "text[]"}
        # Whole texts: words could not be looked up.
        properties = [fixture.prop(name, kind, **({"tokenization": "field"} if kind.startswith("text") else {})) for name, kind in kinds.items()]
        server.handle.create({"class": dataset, "vectorizer": "none", "properties": properties, "invertedIndexConfig": {"indexTimestamps": True, "indexNullState": True}})

    def put(self, server, dataset, found):
        objects = [{"class": dataset, "id": id, "vector": row["vector"], "properties": {name: value for name, value in row.items() if name != "vector"}} for id, row in found.items()]
        server.handle.put(objects)

    def delete(self, server, dataset, ids):
        for id in ids:
            server.handle.call("DELETE", f"/objects/{dataset}/{id}", takes=(204, 404))

    def rows(self, server, dataset):
        return {one["id"]: one["properties"] | ({"vector": list(map(fixture.f32, one["vector"]))} if "vector" in one else {}) for one in server.handle.objects(dataset)}

    def of_export(self, row):
        found = {name: value for name, value in row.items() if name in ("name", "number", "ratio", "flag", "tags")}
        if "day" in row:
            found["day"] = day(row["day"])
        return found | ({"vector": row["_vector"]} if "_vector" in row else {})

    def as_import(self, row):
        return {name: value for name, value in row.items() if name != "vector"} | {"_vector": row["vector"]}


def day(micros):
    """A whole hour, as `simple` writes it."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
    return f"{moment.isoformat()}Z"

