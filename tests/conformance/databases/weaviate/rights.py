"""Keys that are wrong, missing, or allowed too little. Weaviate answers many a forbidden question with 200 and less: what a key may not see
is not there. A backup must not take that for the whole."""

import contextlib

import simple
from suite import Vault, expect, none

from .fixture import ROLES

WORD = "Right"
# Whoever may do just something. Not of the prefix: what the world of a job holds does not change with it.
GUEST = "guest"
# What a backup needs to see; `restow` may say that it needs more, never that less is all there is.
READING = ["read_collections", "read_data", "read_tenants"]


def jobs(suite, group):
    for server in suite.servers:
        if server.handle.version() < ROLES or not server.handle.key:
            continue
        for job in (wrong_keys, too_little, enough_to_read, no_writing, secret):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)


@contextlib.contextmanager
def fixture_of(suite, server):
    with suite.filled(server, WORD, 13, only=["Org", "Tenants", "Named"], tenants=4, per_tenant=20) as made:
        try:
            yield made
        finally:
            with contextlib.suppress(Exception):
                server.handle.call("DELETE", f"/users/db/{GUEST}")
            with contextlib.suppress(Exception):
                server.handle.call("DELETE", f"/authz/roles/{GUEST}")


def permission(action, name):
    kind = action.split("_")[1]
    whole = {"collections": {"collection": name}, "data": {"collection": name, "tenant": "*", "object": "*"}, "tenants": {"collection": name, "tenant": "*"},
             "nodes": {"verbosity": "verbose", "collection": name}, "aliases": {"collection": name, "alias": "*"}, "roles": {"role": "*", "scope": "all"}, "users": {"users": "*"}}
    return {"action": action, kind: whole[kind]}


def allowed(server, permissions):
    """The server as somebody sees it who may do just this."""
    rest = server.handle
    for path in (f"/users/db/{GUEST}", f"/authz/roles/{GUEST}"):
        with contextlib.suppress(Exception):
            rest.call("DELETE", path)
    key = rest.call("POST", f"/users/db/{GUEST}")["apikey"]
    if permissions:
        rest.call("POST", "/authz/roles", {"name": GUEST, "permissions": permissions})
        rest.call("POST", f"/authz/users/{GUEST}/assign", {"roles": [GUEST], "userType": "db"})
    return server.keyed(key)


def wrong_keys(suite, group, server, name):
    """401, for reading and for writing."""
    database = suite.database
    with fixture_of(suite, server) as made:
        vault = Vault(suite, server, "wrong-keys")
        vault.backup(made.names)
        for what, variables in (("a wrong key", {"WEAVIATE_API_KEY": "x" * 20}), ("an empty key", {"WEAVIATE_API_KEY": ""}), ("no key", {"WEAVIATE_API_KEY": None})):
            with group.case(f"{name}: {what}"):
                ran = vault.run(vault.backup_file(made.names), codes=(1, 2), **variables).says("api key", "api_key", "WEAVIATE_API_KEY", "401")
                expect(len(vault.snapshots()) == 1, "a snapshot was made", ran)
                before = database.read(server)
                ran = vault.run(vault.restore_file(rename={one: f"No{one}" for one in made.names}), codes=(1, 2), **variables).says("api key", "api_key", "WEAVIATE_API_KEY", "401")
                none(database.differences(before, database.read(server)), "something was written", ran)
        vault.remove()


def too_little(suite, group, server, name):
    """Whatever is missing: no snapshot is called whole that is not. Named datasets first, then everything."""
    with fixture_of(suite, server) as made:
        # Only of these the key may see nothing else either.
        every = f"{WORD}*"
        cases = {
            "nothing": [],
            "classes, not their objects": [permission("read_collections", every), permission("read_tenants", every)],
            "objects, not the classes": [permission("read_data", every), permission("read_tenants", every)],
            # The list of tenants is then empty, and the answer is 200.
            "classes and objects, not the tenants": [permission("read_collections", every), permission("read_data", every)],
            "one class of several": [permission(action, f"{WORD}Named") for action in READING],
            "the objects of one class of several": [permission("read_collections", every), permission("read_tenants", every), permission("read_data", f"{WORD}Named")],
            "one tenant": [permission("read_collections", every), permission("read_data", every), {"action": "read_tenants", "tenants": {"collection": every, "tenant": "t01"}}],
        }
        for what, permissions in cases.items():
            with group.case(f"{name}: {what}"):
                vault = Vault(suite, allowed(server, permissions), "too-little")
                # Who may see one tenant may have meant that one: then it is enough that the end says so.
                ran = vault.backup(made.names, codes=(1, 2, 3, 7, 10, *([0] if what == "one tenant" else [])))
                ran.says("right", "permission", "forbidden", "403", "not found", "no collection", "allowed")
                if ran.code == 3:
                    expect(ran.summary()["status"] == "partial", "ended with 3 and not partial", ran)
                vault.remove()
        with group.case(f"{name}: everything, by one who sees nothing"):
            vault = Vault(suite, allowed(server, []), "sees-nothing")
            ran = vault.backup(codes=(1, 2, 7, 10)).says("right", "permission", "forbidden", "403", "allowed", "nothing", "no collection")
            expect(not vault.snapshots(), "a snapshot of nothing was made", ran)
            vault.remove()
        with group.case(f"{name}: everything, by one who sees a part"):
            # Not refused perhaps, but said: what is filtered out by the server looks like a small server.
            vault = Vault(suite, allowed(server, cases["one class of several"]), "sees-a-part")
            vault.backup().says(f"read_collections only for {WORD}Named")
            vault.place.run("catalog", "show", "-r", "repo", "--key-file", "backup.key").ends(0).says(f"read_collections only for {WORD}Named")
            vault.remove()


def enough_to_read(suite, group, server, name):
    """What is needed for reading is enough for a backup, but not for waking up tenants."""
    database = suite.database
    with fixture_of(suite, server) as made:
        actions = [*READING, "read_aliases", "read_roles", "read_users"]
        permissions = [permission(action, f"{WORD}*") for action in actions] + [permission("read_nodes", "*")]
        with group.case(f"{name}: tenants that are awake"):
            names = [f"{WORD}Org", f"{WORD}Named"]
            vault = Vault(suite, allowed(server, permissions), "enough")
            vault.backup(names)
            none(database.row_differences(made.world.of(names), vault.export()), "the rows of the snapshot are not those of the server")
            vault.remove()
        with group.case(f"{name}: tenants that sleep"):
            vault = Vault(suite, allowed(server, permissions), "not-enough")
            ran = vault.backup([f"{WORD}Tenants"], codes=(1, 2, 3, 7)).says("right", "permission", "forbidden", "403", "allowed")
            expect(ran.code != 3 or ran.summary()["status"] == "partial", "ended with 3 and not partial", ran)
            none(database.differences(made.world, database.read(server, WORD)), "the server was changed", ran)
            vault.remove()


def no_writing(suite, group, server, name):
    """A restore by one who may only read changes nothing, and says what is missing."""
    database = suite.database
    with fixture_of(suite, server) as made:
        vault = Vault(suite, server, "no-writing")
        vault.backup(made.names)
        with group.case(name):
            reader = allowed(server, [permission(action, "*") for action in READING])
            before = database.read(server)
            file = vault.restore_file(rename={one: f"No{one}" for one in made.names})
            for ran in (vault.run(file, codes=(7,), **reader.variables), vault.place.run("plan", file, **reader.variables).ends(7)):
                for part in ("create_collections", "create_data", "update_data", "create_tenants", f"No{WORD}Named", GUEST, "nothing was changed"):
                    ran.says(part)
            none(database.differences(before, database.read(server)), "something was written", ran)
        vault.remove()


def secret(suite, group, server, name):
    """The key is nowhere: not in what is printed, not in the run state, not in the repository."""
    database, dataset = suite.database, f"{WORD}Secret"
    key, vault = server.handle.key.encode(), Vault(suite, server, "secret")
    with group.case(name):
        try:
            database.wipe(server, dataset)
            database.make(server, dataset)
            database.put(server, dataset, simple.rows(group.random(name), 20))
            printed = [vault.backup([dataset]), vault.restore(rename={dataset: f"{dataset}Again"}), vault.place.run("plan", "backup.yaml"), vault.restore(name="bad", codes=(7,))]
            for ran in printed:
                expect(key.decode() not in ran.out + ran.err, "the key was printed")
            for path in vault.place.root.rglob("*"):
                expect(not path.is_file() or key not in path.read_bytes(), f"the key is in {path}")
        finally:
            database.wipe(server, dataset)
    vault.remove()
