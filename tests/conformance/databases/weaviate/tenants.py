"""Tenants that sleep: refused by name, left out, or woken up and put to sleep again, whatever happens to the process."""

import signal

from doors import Answer, Desk
from suite import KEY_FILE, Vault, expect, none

from . import world

WORD = "Sleep"


def jobs(suite, group):
    for server in suite.servers:
        for job in (refused, left_out, some, killed, put_back_by_another, interrupted, slept, conflicting):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: on_fixture(suite, group, server, name, job)


def on_fixture(suite, group, server, name, job):
    """Each job has its own vault; the tenants stand in two classes, one of which wakes them up by itself."""
    vault = Vault(suite, server, "tenants")
    with suite.filled(server, WORD, 11, only=["Org", "Tenants", "Automatic"], tenants=12, per_tenant=80) as made:
        job(suite, group, server, name, vault, made)
    vault.remove()


def as_before(suite, server, made, *shown):
    """Statuses and objects are what they were."""
    none(suite.database.differences(made.world, suite.database.read(server, WORD)), "the server is not as it was", *shown)


def statuses(server, made):
    return {name: {tenant: world.STATUS.get(status, status) for tenant, status in server.handle.tenants(name).items()} for name in made.world.tenants}


def cold(made):
    return [tenant for found in made.world.tenants.values() for tenant, status in found.items() if status != "ACTIVE"]


def without_cold(made):
    """The world without the objects of tenants that sleep."""
    found = made.world.of(made.names)
    found.objects = {(name, tenant): objects for (name, tenant), objects in found.objects.items() if tenant is None or found.tenants[name][tenant] == "ACTIVE"}
    return found


def refused(suite, group, server, name, vault, made):
    for options in ({}, {"cold_tenants": "refuse"}):
        with group.case(f"{name}: {options or 'by default'}"):
            file = vault.backup_file(made.names, cold_tenants="refuse") if options else vault.write(
                "backup", {"weaviate": {"connection": "server", "collections": made.names}}, {"repository": {"connection": "backups"}},
                [{"encrypt": {"aes-256-gcm": {"key_file": "backup.key", "create": True}}}], {"repository": {"url": "repo", "create": "if_missing"}})
            ran = vault.run(file, codes=(7,))
            expect(statuses(server, made) == made.world.tenants, "tenants have another status", ran)
            for tenant in cold(made)[:2]:
                ran.says(tenant)
            expect(not vault.snapshots(), "a snapshot was made", ran)
            as_before(suite, server, made, ran)


def left_out(suite, group, server, name, vault, made):
    with group.case(name):
        ran = vault.backup(made.names, codes=(0, 3), cold_tenants="skip")
        told = vault.place.run("catalog", "show", "latest", "-r", "repo", "--key-file", KEY_FILE, "--json")
        missing = [tenant for tenant in cold(made) if tenant not in ran.out + ran.err + told.out + told.err]
        expect(not missing, f"neither the run nor `catalog show` names the tenants that were left out: {missing[:5]}", ran, told)
        expect(statuses(server, made) == made.world.tenants, "tenants have another status", ran)
        none(suite.database.row_differences(without_cold(made), vault.export()), "not the rows of the tenants that are awake", ran)
        as_before(suite, server, made, ran)
    with group.case(f"{name}: restored"):
        rename = {one: f"Woken{one}" for one in made.names}
        try:
            ran = vault.restore(rename=rename)
            restored = suite.database.read(server, "Woken")
            wrong = [line for line in suite.database.differences(without_cold(made), restored, rename) if not line.startswith(("tenants/", "objects/"))]
            none(wrong, "the restore differs", ran)
            for (owner, tenant), objects in without_cold(made).objects.items():
                expect(len(restored.objects[rename[owner], tenant]) == len(objects), f"{owner}/{tenant}: {len(restored.objects[rename[owner], tenant])} of {len(objects)} objects", ran)
            expect(not any(restored.objects.get((rename[owner], tenant)) for owner, found in made.world.tenants.items() for tenant in found if found[tenant] != "ACTIVE"),
                   "a tenant that was left out has objects", ran)
        finally:
            suite.database.wipe(server, "Woken")


def some(suite, group, server, name, vault, made):
    """Only the tenants of a pattern: those that sleep elsewhere stand in nobody's way."""
    with group.case(name):
        wanted = [tenant for tenant, status in made.world.tenants[f"{WORD}Tenants"].items() if tenant.startswith("t0") and status == "ACTIVE"]
        ran = vault.backup([f"{WORD}Tenants"], tenants=wanted, cold_tenants="refuse")
        found = made.world.of([f"{WORD}Tenants"])
        found.objects = {key: objects for key, objects in found.objects.items() if key[1] in wanted}
        none(suite.database.row_differences(found, vault.export()), "not the rows of these tenants", ran)
        ran = vault.backup([f"{WORD}Tenants"], name="pattern", tenants=["t0*"], cold_tenants="activate")
        found = made.world.of([f"{WORD}Tenants"])
        found.objects = {key: objects for key, objects in found.objects.items() if key[1].startswith("t0")}
        none(suite.database.row_differences(found, vault.export()), "not the rows of the tenants of the pattern", ran)
        as_before(suite, server, made, ran)


def woken(server, made):
    return lambda: statuses(server, made) != made.world.tenants


def put_back(server, made):
    """Statuses as they were, whatever an earlier case left."""
    for name, found in made.world.tenants.items():
        for status, word in (("ACTIVE", "HOT"), ("INACTIVE", "COLD")):
            server.handle.set_tenants(name, word, [tenant for tenant in found if found[tenant] == status])


def killed(suite, group, server, name, vault, made):
    """Killed while a tenant is awake that slept: the next run puts it to sleep again."""
    for number in range(10 if suite.options.full else 3):
        with group.case(f"{name}: kill {number}"):
            put_back(server, made)
            file = vault.backup_file(made.names, page_bytes="4KiB")
            run = vault.start(file)
            seen = run.until("a tenant that wakes up", woken(server, made))
            run.signal(signal.SIGKILL)
            ran = run.end()
            expect(seen or ran.code == 0, "the backup ended before any tenant woke up", ran)
            group.note("kills with a tenant awake", int(woken(server, made)()))
            ran = vault.run(file)
            expect(statuses(server, made) == made.world.tenants, "tenants have another status after the next run", ran)
            none(suite.database.row_differences(made.world, vault.export(snapshot=ran.summary()["snapshot"])), "the rows of the snapshot are not those of the server", ran)
            as_before(suite, server, made, ran)


def put_back_by_another(suite, group, server, name, vault, made):
    """The next run of another pipeline over the same repository and server does it too."""
    with group.case(name):
        run = vault.start(vault.backup_file(made.names, page_bytes="4KiB"))
        run.until("a tenant that wakes up", woken(server, made))
        run.signal(signal.SIGKILL)
        run.end()
        ran = vault.backup([f"{WORD}Org"], name="another")
        expect(statuses(server, made) == made.world.tenants, "tenants have another status", ran)


def interrupted(suite, group, server, name, vault, made):
    """Ended by a signal it puts things right itself."""
    for number, sent in enumerate((signal.SIGINT, signal.SIGTERM)):
        with group.case(f"{name}: {sent.name}"):
            put_back(server, made)
            run = vault.start(vault.backup_file(made.names, name=f"backup-{number}", page_bytes="4KiB"))
            seen = run.until("a tenant that wakes up", woken(server, made))
            run.signal(sent)
            ran = run.end(60).ends(*([130] if seen else [0, 130]), 0)
            expect(statuses(server, made) == made.world.tenants, "tenants have another status", ran)
            as_before(suite, server, made, ran)


def slept(suite, group, server, name, vault, made):
    """A restore that is killed when it has put tenants to sleep, the last thing that it does: it goes on, and it can be taken back."""
    database, rename = suite.database, {one: f"Slept{one}" for one in made.names}
    vault.backup(made.names)
    desk = Desk(server, 1)
    try:
        for number, (rule, arguments) in enumerate([(rule, arguments) for rule in (("create", None), ("append", "overwrite")) for arguments in ([], ["--fresh"])]):
            with group.case(f"{name}: {' '.join(filter(None, rule))} {' '.join(arguments)}"):
                database.wipe(server, "Slept")
                there, options = None, {"mode": rule[0]}
                if rule[0] == "append":
                    database.fill(server, f"Slept{WORD}", 12, False, only=["Org", "Tenants", "Automatic"], tenants=12, per_tenant=30)
                    for one in map(rename.get, made.world.tenants):
                        server.handle.set_tenants(one, "HOT", list(server.handle.tenants(one)))
                    there = database.read(server, names=list(rename.values()))
                    options |= {"conflicts": "overwrite", "safety": {"connection": "backups"}}
                expected = database.restored(database.part(made.world, made.names), there, rename, rule)
                snapshots, run = set(vault.snapshots()), []
                file = vault.restore_file(name=f"slept-{number}", server=desk.server, rename=rename, **options)
                desk.set(Answer("drop-reply", 1, wanted=lambda method, path: method == "PUT" and "/tenants" in path, called=lambda: run[0].signal(signal.SIGKILL)))  # noqa: B023
                run.append(vault.start(file))
                expect(run[0].end(300).code == -9, "it was not killed", run[0])
                desk.set(None)
                ran = vault.run(file, *arguments)
                none(database.differences(expected, database.read(server, names=list(rename.values()))), "the restore differs", ran)
                for id in set(vault.snapshots()) - snapshots:
                    none(database.row_differences(there, vault.export(snapshot=id), times=False), f"safety snapshot {id} is not what was there", ran)
    finally:
        desk.close()
        database.wipe(server, "Slept")


def conflicting(suite, group, server, name, vault, made):
    """A restore that is refused because of an object that is there leaves no tenant behind that it made."""
    database, rename = suite.database, {one: f"Slept{one}" for one in made.names}
    vault.backup(made.names)
    try:
        with group.case(name):
            database.wipe(server, "Slept")
            vault.restore(rename=rename, mode="create")
            for one in map(rename.get, made.world.tenants):
                tenants = sorted(server.handle.tenants(one))
                server.handle.remove_tenants(one, tenants[::2])
                server.handle.set_tenants(one, "HOT", tenants[1::2])
            there = database.read(server, names=list(rename.values()))
            ran = vault.restore(rename=rename, mode="append", codes=(7,))
            none(database.differences(there, database.read(server, names=list(rename.values()))), "it is not as it was", ran)
            ran.says("which the run had made")
    finally:
        database.wipe(server, "Slept")
