"""A part of what is there: datasets, predicates, ids, columns; at the backup and at the restore."""

import simple
from suite import Vault, expect, none

WORKERS = 1


def jobs(suite, group):
    for server in suite.servers:
        for job in (datasets, ids, columns, restored_in_part):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)
        for word, options in suite.database.evaluations.items():
            name = " ".join(filter(None, ["predicates", word, server.label]))
            yield name, lambda server=server, name=name, options=options: predicates(suite, group, server, name, options)


def plain(suite, server, dataset, rows):
    suite.database.wipe(server, dataset)
    suite.database.make(server, dataset)
    suite.database.put(server, dataset, rows)


def exported(suite, found, dataset):
    """The rows of the plain dataset in an export; none where it is not there."""
    return {row["id"]: suite.database.of_export(row) for row in found.get(dataset, [])}


def datasets(suite, group, server, name):
    """By name and by pattern; names that mean nothing are an error."""
    database, base = suite.database, suite.base(server)
    vault = Vault(suite, server, "datasets")
    some = base.names[1:4]
    with group.case(f"{name}: by name"):
        vault.backup(some)
        none(database.row_differences(database.part(base.world, some), vault.export()), "not the datasets that were named")
    with group.case(f"{name}: of the snapshot"):
        none(database.row_differences(database.part(base.world, some[:1]), vault.export(datasets=some[:1])), "not the dataset that was named")
    with group.case(f"{name}: one that is not there"):
        ran = vault.backup([f"{base.prefix}Nonsense"], codes=(2, 10)).says(f"{base.prefix}Nonsense")
        expect(len(vault.snapshots()) == 1, "a snapshot of nothing was made", ran)
    vault.remove()


def predicates(suite, group, server, name, options):
    """A filter gives what Python gives, whatever of it the server does; and what was not read is no row that is missing."""
    database, dataset = suite.database, "Sifted"
    rng, vault = group.random(name), Vault(suite, server, "predicates")
    rows = simple.rows(rng, 400)
    some = rng.sample(sorted(rows), 8)
    plain(suite, server, dataset, rows)
    try:
        for number in range(250 if suite.options.full else 12):
            sql, holds = simple.predicate(rng, ids=some)
            with group.case(f"{name}: {number}"):
                found = exported(suite, vault.export_server([dataset], stages=[{"filter": sql}], **options), dataset)
                wrong = simple.difference({id: row for id, row in rows.items() if holds({**row, "id": id}) is True}, found)
                expect(wrong is None, f"where {sql}: {wrong}", vault.ran)
                counts, pushed = vault.ran.summary()["counts"], vault.ran.summary()["pushed"]
                expect(counts["scanned"] == counts["filtered"] + counts["written"], f"the counts do not meet: {counts}", vault.ran)
                expect(pushed or counts["scanned"] == len(rows), f"{counts['scanned']} of {len(rows)} rows were read, and no filter is said to be the cause", vault.ran)
                group.note("predicates that saved reading", counts["scanned"] < len(rows))
                group.note("predicates", 1)
    finally:
        database.wipe(server, dataset)
    vault.remove()


def ids(suite, group, server, name):
    """`--objects`: those, and no others; one that is not there is named, and the end is 3."""
    database, dataset = suite.database, "Picked"
    rng, vault = group.random(name), Vault(suite, server, "ids")
    rows = simple.rows(rng, 200)
    plain(suite, server, dataset, rows)
    try:
        some = rng.sample(sorted(rows), 5)
        expected = {id: rows[id] for id in some}
        with group.case(f"{name}: of the server"):
            for form in (",".join(some), ",".join([f"{dataset}/{some[0]}", *some[1:]])):
                found = exported(suite, vault.export_server([dataset], arguments=("--objects", form)), dataset)
                wrong = simple.difference(expected, found)
                expect(wrong is None, f"--objects {form}: {wrong}", vault.ran)
                scanned = vault.ran.summary()["counts"]["scanned"]
                expect(scanned <= len(rows) if vault.ran.summary()["pushed"] else scanned == len(rows), f"{scanned} rows were scanned", vault.ran)
        with group.case(f"{name}: of the snapshot"):
            vault.backup([dataset])
            found = exported(suite, vault.export(arguments=("--objects", ",".join(some))), dataset)
            wrong = simple.difference(expected, found)
            expect(wrong is None, f"--objects of the snapshot: {wrong}")
        with group.case(f"{name}: not there"):
            nobody = next(iter(simple.rows(rng, 1)))
            ran = vault.backup([dataset], arguments=("--objects", f"{some[0]},{nobody}"), codes=(3,)).says(nobody)
            found = exported(suite, vault.export(), dataset)
            expect(set(found) == {some[0]}, f"{len(found)} rows are in the snapshot, not the one that is there", ran)
        with group.case(f"{name}: restored"):
            vault.backup([dataset], name="whole")
            ran = vault.restore(arguments=("--objects", ",".join(some)), rename={dataset: f"{dataset}Again"})
            wrong = simple.difference(expected, database.rows(server, f"{dataset}Again"))
            expect(wrong is None, f"a restore of some ids: {wrong}", ran)
    finally:
        database.wipe(server, dataset)
    vault.remove()


def columns(suite, group, server, name):
    """`--properties`: those columns, and the ids and vectors."""
    database, dataset = suite.database, "Narrow"
    rng, vault = group.random(name), Vault(suite, server, "columns")
    rows = simple.rows(rng, 80)
    plain(suite, server, dataset, rows)
    try:
        narrow = {id: {key: value for key, value in row.items() if key in ("name", "number", "vector")} for id, row in rows.items()}
        with group.case(f"{name}: read"):
            found = exported(suite, vault.export_server([dataset], arguments=("--properties", "name,number")), dataset)
            wrong = simple.difference(narrow, found)
            expect(wrong is None, f"--properties name,number: {wrong}")
        with group.case(f"{name}: restored"):
            vault.backup([dataset])
            ran = vault.restore(arguments=("--properties", "name,number"), rename={dataset: f"{dataset}Again"})
            wrong = simple.difference(narrow, database.rows(server, f"{dataset}Again"))
            expect(wrong is None, f"a restore of some columns: {wrong}", ran)
        with group.case(f"{name}: without the vector"):
            found = vault.export_server([dataset], stages=[{"transform": {"keep": ["id", "name"]}}])
            expect(all(set(row) <= {"id", "name"} for row in found[dataset]), "there are other columns")
            expect({row["id"]: row.get("name") for row in found[dataset]} == {id: row.get("name") for id, row in rows.items()}, "the values are not those of the server")
    finally:
        database.wipe(server, dataset)
    vault.remove()


def restored_in_part(suite, group, server, name):
    """A predicate at the restore: the rows for which it holds, and no others."""
    database, dataset = suite.database, "Partly"
    rng, vault = group.random(name), Vault(suite, server, "in-part")
    rows = simple.rows(rng, 200)
    plain(suite, server, dataset, rows)
    try:
        with group.case(name):
            vault.backup([dataset])
            ran = vault.restore(stages=[{"filter": "number < 70 AND flag IS NOT NULL"}], rename={dataset: f"{dataset}Again"})
            expected = {id: row for id, row in rows.items() if row["number"] < 70 and "flag" in row}
            wrong = simple.difference(expected, database.rows(server, f"{dataset}Again"))
            expect(wrong is None, f"a filtered restore: {wrong}", ran)
            counts = ran.summary()["counts"]
            expect(counts["written"] == len(expected), f"{counts} instead of {len(expected)} rows written", ran)
    finally:
        database.wipe(server, dataset)
    vault.remove()
