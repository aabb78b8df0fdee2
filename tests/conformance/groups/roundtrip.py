"""What was backed up comes back: on the same server, under other names, on another version, once and again."""

import simple
from suite import Vault, expect, none


def jobs(suite, group):
    for server in suite.servers:
        def named(job, server=server):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            return name, lambda: job(suite, group, server, name)

        yield named(same_names)
        yield named(other_names)
        yield named(everything_there_is)
        yield named(twice)
        yield named(once_more)
        yield named(without_rows)
        yield named(only_looked_at)
        yield named(changed_on_the_way)
        yield named(grown)
        yield named(safe)
        for other in suite.servers:
            if other is not server:
                name = f"from {server.label} to {other.label}"
                yield name, lambda server=server, other=other, name=name: to_another(suite, group, server, other, name)
    if suite.options.full:
        for number in range(3):
            for server in suite.servers:
                name = f"seed {number} {server.label}"
                yield name, lambda server=server, name=name: same_names(suite, group, server, name)


def other_names(suite, group, server, name):
    """The fixture that all share, restored beside itself under other names."""
    database, base = suite.database, suite.base(server)
    vault = Vault(suite, server, "other-names")
    with group.case(f"{name}: backup") as case:
        ran = vault.backup(base.names)
        expect(ran.summary()["snapshot"], "no snapshot", ran)
        none(database.differences(base.world, database.read(server, base.prefix)), "the backup changed the server", ran)
        vault.verify()
    if case.failed:
        return
    with group.case(f"{name}: what is stored"):
        none(database.row_differences(base.world, vault.export()), "the rows of the snapshot are not those of the server")
    rename = {one: f"Other{one}" for one in base.names}
    with group.case(f"{name}: restore"):
        try:
            ran = vault.restore(rename=rename)
            restored = database.read(server, names=list(rename.values()))
            none(database.differences(database.part(base.world, base.names), restored, rename), "the restore differs", ran)
            none(database.differences(base.world, database.read(server, base.prefix)), "the restore changed what it was made from", ran)
        finally:
            database.wipe(server, "Other")
    vault.remove()


def same_names(suite, group, server, name):
    """Everything there is on a server is lost, and restored as it was."""
    database, prefix = suite.database, "Lost"
    vault = Vault(suite, server, "same-names")
    suite.alone(server)
    with suite.filled(server, prefix, group.random(name).randrange(1 << 32)) as made:
        with group.case(f"{name}: datasets") as case:
            vault.backup()
            database.wipe(server, prefix)
            ran = vault.restore(**database.all_of_it)
            after = database.read(server, prefix)
            none(database.differences(database.part(made.world, made.names), database.part(after, made.names)), "the restore differs", ran)
        # Whatever a database has beside its datasets, and that can be written back.
        beside = {} if case.failed else database.beside(made.world, database.read(server, prefix))
        for kind, lines in beside.items():
            with group.case(f"{name}: {kind}"):
                none(lines, "the restore differs", ran)
    vault.remove()


def everything_there_is(suite, group, server, name):
    """A source that names nothing takes everything."""
    base = suite.base(server)
    vault = Vault(suite, server, "everything")
    with group.case(name):
        vault.backup()
        found = vault.export(datasets=base.names)
        none(suite.database.row_differences(base.world, found), "a backup of everything is not that")
    vault.remove()


def to_another(suite, group, server, other, name):
    """What both versions can hold moves from one to the other, and back."""
    database, prefix = suite.database, "Moved"
    vault = Vault(suite, server, "to-another")
    with suite.filled(server, prefix, group.random(name).randrange(1 << 32), like=other) as made:
        with group.case(f"{name}: there") as case:
            vault.backup(made.names)
            database.wipe(other, prefix)
            vault.place.variables.update(other.variables)
            ran = vault.restore(server=other)
            arrived = database.read(other, prefix)
            none(database.differences(database.part(made.world, made.names), database.part(arrived, made.names), across=True), "the restore differs", ran)
        if not case.failed:
            with group.case(f"{name}: and back"):
                vault.backup(made.names, name="back", server=other)
                vault.place.variables.update(server.variables)
                rename = {one: f"Back{one}" for one in made.names}
                try:
                    ran = vault.restore(name="returned", rename=rename)
                    returned = database.read(server, names=list(rename.values()))
                    none(database.differences(database.part(made.world, made.names), returned, rename, across=True), "what came back differs", ran)
                finally:
                    database.wipe(server, "Back")
        database.wipe(other, prefix)
    vault.remove()


def twice(suite, group, server, name):
    """Two backups of the same hold the same rows."""
    base = suite.base(server)
    vault = Vault(suite, server, "twice")
    with group.case(name):
        ids = [vault.backup(base.names).summary()["snapshot"] for _ in range(2)]
        expect(len(set(ids)) == 2 and sorted(vault.snapshots()) == sorted(ids), f"two backups made {ids}, and {vault.snapshots()} are there")
        one, two = (vault.export(snapshot=id) for id in ids)
        order = lambda rows: sorted(map(repr, rows))  # noqa: E731
        wrong = [dataset for dataset in sorted(set(one) | set(two)) if order(one.get(dataset, [])) != order(two.get(dataset, []))]
        expect(not wrong, f"datasets differ between two backups of the same: {wrong}")
    vault.remove()


def once_more(suite, group, server, name):
    """A restore that is finished is not taken up again: it starts anew, and what is there now stands in its way."""
    database, prefix = suite.database, "Again"
    vault = Vault(suite, server, "once-more")
    with suite.filled(server, prefix, 1, **suite.database.for_kills) as made:
        with group.case(f"{name}: refused"):
            vault.backup(made.names)
            rename = {one: f"More{one}" for one in made.names}
            file = vault.restore_file(rename=rename)
            try:
                first = vault.run(file)
                before = database.read(server, "More")
                again = vault.run(file, codes=(7,))
                again.says("exist")
                none(database.differences(before, database.read(server, "More")), "the refused restore changed something", again)
                database.wipe(server, "More")
                anew = vault.run(file)
                expect(anew.summary()["run"] != first.summary()["run"], "a finished restore was taken up", anew)
                none(database.differences(before, database.read(server, "More")), "the second restore differs from the first", anew)
            finally:
                database.wipe(server, "More")
    vault.remove()


def without_rows(suite, group, server, name):
    """Datasets without a row are datasets too."""
    database, prefix = suite.database, "Void"
    vault = Vault(suite, server, "without-rows")
    database.wipe(server, prefix)
    with group.case(name):
        try:
            names = database.empty(server, prefix, 1)
            before = database.read(server, prefix)
            ran = vault.backup(names)
            expect(ran.summary()["counts"]["written"] == 0, "rows were written", ran)
            database.wipe(server, prefix)
            ran = vault.restore()
            none(database.differences(before, database.read(server, prefix)), "the restore differs", ran)
        finally:
            database.wipe(server, prefix)
    vault.remove()


def only_looked_at(suite, group, server, name):
    """`plan` and `--dry-run` say what would be, and change nothing."""
    database, base = suite.database, suite.base(server)
    vault = Vault(suite, server, "looked-at")
    before = database.read(server)
    with group.case(f"{name}: a backup"):
        file = vault.backup_file(base.names)
        vault.place.run("plan", file).ends(0).says(base.names[0])
        for level in ("static", "connect", "sample"):
            vault.place.run("run", file, "--dry-run", level).ends(0)
        expect(not vault.snapshots(), "a snapshot was made")
        none(database.differences(before, database.read(server)), "something was changed on the server")
    with group.case(f"{name}: a restore"):
        vault.backup(base.names)
        file = vault.restore_file(rename={one: f"Never{one}" for one in base.names})
        ran = vault.place.run("plan", file).ends(0).says(f"Never{base.names[0]}", base.names[0])
        for level in ("static", "connect", "sample"):
            vault.place.run("run", file, "--dry-run", level).ends(0)
        none(database.differences(before, database.read(server)), "something was changed on the server", ran)
    vault.remove()


def changed_on_the_way(suite, group, server, name):
    """Columns are renamed, dropped, cast and computed between snapshot and server; the ids and vectors stay."""
    database, prefix = suite.database, "Changed"
    vault = Vault(suite, server, "changed")
    rng = group.random(name)
    database.wipe(server, prefix)
    with group.case(name):
        try:
            made = simple.rows(rng, 60)
            database.make(server, f"{prefix}From")
            database.put(server, f"{prefix}From", made)
            vault.backup([f"{prefix}From"])
            verbs = {"rename": {"name": "title"}, "drop": ["tags"], "cast": {"number": "double"}, "set": {"twice": "number * 2", "shout": "upper(title)"}}
            ran = vault.restore(stages=[{"transform": verbs}], rename={f"{prefix}From": f"{prefix}To"})
            expected = {}
            for id, row in made.items():
                row = {{"name": "title"}.get(key, key): value for key, value in row.items() if key != "tags"}
                expected[id] = row | {"twice": row["number"] * 2} | ({"shout": row["title"].upper()} if "title" in row else {})
            wrong = simple.difference(expected, database.rows(server, f"{prefix}To"))
            expect(wrong is None, f"the restore differs: {wrong}", ran)
        finally:
            database.wipe(server, prefix)
    vault.remove()


def grown(suite, group, server, name):
    """Appended to what is there: rows that are new come in, others stay. The same ids are a conflict, and refused by default."""
    database, prefix = suite.database, "Grown"
    vault = Vault(suite, server, "grown")
    rng = group.random(name)
    database.wipe(server, prefix)
    first, second = simple.rows(rng, 50), simple.rows(rng, 50)
    with group.case(f"{name}: new rows"):
        try:
            for word, rows in (("From", first), ("To", second)):
                database.make(server, f"{prefix}{word}")
                database.put(server, f"{prefix}{word}", rows)
            vault.backup([f"{prefix}From"])
            file = vault.restore_file(mode="append", rename={f"{prefix}From": f"{prefix}To"})
            ran = vault.run(file)
            wrong = simple.difference({**first, **second}, database.rows(server, f"{prefix}To"))
            expect(wrong is None, f"appended wrongly: {wrong}", ran)
            ran = vault.run(file, codes=(7,))
            wrong = simple.difference({**first, **second}, database.rows(server, f"{prefix}To"))
            expect(wrong is None, f"the refused run changed something: {wrong}", ran)
        finally:
            database.wipe(server, prefix)
    vault.remove()


def safe(suite, group, server, name):
    """What is written over is kept first: the safety snapshot brings it back. And who restores the latest backup means no safety snapshot."""
    database, prefix = suite.database, "Safe"
    vault = Vault(suite, server, "safe")
    rng = group.random(name)
    first, target = simple.rows(rng, 50), f"{prefix}To"
    there = simple.rows(rng, 30, 1000) | {id: simple.row(rng, 2000) for id in sorted(first)[:20]}
    needs = {"overwrite": {"mode": "append", "conflicts": "overwrite"}, "merge": {"mode": "append", "conflicts": "merge"}, "drop": {"mode": "drop"}}
    try:
        database.wipe(server, prefix)
        database.make(server, f"{prefix}From")
        database.put(server, f"{prefix}From", first)
        backup = vault.backup([f"{prefix}From"]).summary()["snapshot"]
        for word, options in needs.items():
            with group.case(f"{name}: {word}"):
                database.wipe(server, target)
                database.make(server, target)
                database.put(server, target, there)
                rename = {f"{prefix}From": target}
                ran = vault.restore(name=f"{word}-without", snapshot=backup, codes=(7,), rename=rename, **options).says("safety")
                wrong = simple.difference(there, database.rows(server, target))
                expect(wrong is None, f"the refused restore changed something: {wrong}", ran)
                known = set(vault.snapshots())
                ran = vault.restore(name=f"{word}-with", snapshot=backup, rename=rename, safety={"connection": "backups"}, **options)
                new = set(vault.snapshots()) - known
                expect(len(new) == 1, f"safety snapshots: {sorted(new)}", ran)
                restored = database.rows(server, target)
                wrong = simple.difference(there, {row["id"]: database.of_export(row) for row in vault.export(snapshot=new.pop()).get(target, [])})
                # A safety snapshot may hold only what was in danger.
                expect(wrong is None or "0 were not expected" in wrong, f"the safety snapshot: {wrong}", ran)
                expect(set(first) <= set(restored), "rows of the backup are missing", ran)
        with group.case(f"{name}: the latest"):
            database.wipe(server, target)
            ran = vault.restore([f"{prefix}From"], name="latest", rename={f"{prefix}From": target})
            wrong = simple.difference(first, database.rows(server, target))
            expect(wrong is None, f"the latest backup: {wrong}", ran)
    finally:
        database.wipe(server, prefix)
    vault.remove()
