"""What cannot be done is said, with the code that says which, and nothing is changed."""

import json

import simple
from suite import Relay, Vault, expect, free_port, none

# Somebody waits for it: an address where nobody listens is not tried for ever.
AWAY = 120.0


def jobs(suite, group):
    for server in suite.servers:
        for job in (away, cut_off, in_the_way, wrong_length, wrong_key_of_the_repository, same_id_twice):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)


def plain(suite, server, dataset, rng, count=60):
    rows = simple.rows(rng, count)
    suite.database.wipe(server, dataset)
    suite.database.make(server, dataset)
    suite.database.put(server, dataset, rows)
    return rows


def away(suite, group, server, name):
    """Nobody listens, at one of the server's addresses or at all: 75, and no snapshot."""
    database, dataset = suite.database, "Away"
    vault = Vault(suite, server, "away")
    rows = plain(suite, server, dataset, group.random(name))
    try:
        with group.case(f"{name}: backup first"):
            vault.backup([dataset])
        for number in range(len(server.addresses) + 1):
            gone = [("127.0.0.1", free_port()) if number in (place, len(server.addresses)) else one for place, one in enumerate(server.addresses)]
            what = "all" if number == len(server.addresses) else f"address {number + 1}"
            with group.case(f"{name}: backup, {what}"):
                ran = vault.run(vault.backup_file([dataset], name="gone", server=server.at(gone)), codes=(75,), within=AWAY)
                ran.says(*(str(port) for (_, port), address in zip(gone, server.addresses) if (_, port) != address))
                expect(len(vault.snapshots()) == 1, "a snapshot was made", ran)
            with group.case(f"{name}: restore, {what}"):
                # Where only one of the addresses is gone, a restore may do without it; then it is whole.
                may = (75,) if what == "all" else (0, 75)
                ran = vault.run(vault.restore_file(name="gone-too", server=server.at(gone), rename={dataset: f"{dataset}{number}"}), codes=may, within=AWAY)
                wrong = simple.difference(rows, database.rows(server, dataset if ran.code else f"{dataset}{number}"))
                expect(wrong is None, f"after a restore that ended with {ran.code}: {wrong}", ran)
        with group.case(f"{name}: nothing is lost"):
            wrong = simple.difference(rows, database.rows(server, dataset))
            expect(wrong is None, f"the server's rows: {wrong}")
    finally:
        database.wipe(server, dataset)
    vault.remove()


def cut_off(suite, group, server, name):
    """The server goes away in the middle: 75, and the same command finishes it when it is back."""
    database, prefix = suite.database, "Cut"
    rng = group.random(name)
    relays = [suite.opened(Relay(*address)) for address in server.addresses]
    through = server.at([("127.0.0.1", relay.port) for relay in relays])
    with suite.filled(server, prefix, 3, **suite.database.for_kills) as made:
        rename = {one: f"Torn{one}" for one in made.names}
        for number in range(6 if suite.options.full else 2):
            vault = Vault(suite, server, "cut-off")
            try:
                with group.case(f"{name}: backup {number}") as case:
                    file = vault.backup_file(made.names, server=through)
                    interrupted(vault, file, relays, rng, group)
                    none(database.row_differences(made.world, vault.export()), "the rows of the snapshot are not those of the server")
                    none(database.differences(made.world, database.read(server, prefix)), "the server was changed")
                if case.failed:
                    continue
                with group.case(f"{name}: restore {number}"):
                    ran = interrupted(vault, vault.restore_file(server=through, rename=rename), relays, rng, group)
                    restored = database.read(server, names=list(rename.values()))
                    none(database.differences(database.part(made.world, made.names), restored, rename), "the restore differs", ran)
            finally:
                for relay in relays:
                    relay.join()
                database.wipe(server, "Torn")
            vault.remove()
    for relay in relays:
        relay.close()


def interrupted(vault, file, relays, rng, group):
    """Runs a file, cuts the relays after some bytes of answers, joins them when it gave up, and runs it again."""
    relay = rng.choice(relays)
    relay.cut_after(int(10 ** rng.uniform(2.5, 5.5)))
    run = vault.start(file)
    run.until("a cut", relay.is_cut, within=600)
    if relay.is_cut():
        for other in relays:
            other.cut()
    ran = run.end(600)
    relay.cut_after(None)
    group.note(f"runs that were cut off and ended with {ran.code}")
    ran.ends(0, 75)
    for other in relays:
        other.join()
    if ran.code == 75:
        ran = vault.run(file)
    return ran


def in_the_way(suite, group, server, name):
    """A target that exists is refused by default, also where only one of many does, and nothing is made of the others."""
    database, prefix = suite.database, "Way"
    vault = Vault(suite, server, "in-the-way")
    rng = group.random(name)
    with group.case(name):
        try:
            names = [f"{prefix}{number}" for number in range(3)]
            for one in names:
                plain(suite, server, one, rng)
            plain(suite, server, f"{prefix}Taken", rng, 10)
            vault.backup(names)
            before = database.read(server, prefix)
            rename = {names[0]: f"{prefix}NewA", names[1]: f"{prefix}Taken", names[2]: f"{prefix}NewB"}
            for options in ({"rename": rename}, {}, {"mode": "create"}):
                ran = vault.restore(codes=(7,), **options).says(f"{prefix}Taken" if "rename" in options else names[0])
                none(database.differences(before, database.read(server, prefix)), "the refused restore changed something", ran)
        finally:
            database.wipe(server, prefix)
    vault.remove()


def wrong_length(suite, group, server, name):
    """Vectors of another length than those that are there: said, and never left out in silence."""
    database, dataset = suite.database, "Length"
    vault = Vault(suite, server, "length")
    rng = group.random(name)
    with group.case(name):
        try:
            there = plain(suite, server, dataset, rng)
            rows = simple.rows(rng, 20)
            for row in rows.values():
                row["vector"] = row["vector"][:-1]
            database.make(server, f"{dataset}Short")
            database.put(server, f"{dataset}Short", rows)
            vault.backup([f"{dataset}Short"])
            ran = vault.restore(codes=(1, 2, 3, 7), mode="append", rename={f"{dataset}Short": dataset}).says("length", "dimension")
            found = database.rows(server, dataset)
            wrong = simple.difference(there, {id: row for id, row in found.items() if id in there})
            expect(wrong is None, f"rows that were there: {wrong}", ran)
            expect(set(found) == set(there), f"{len(set(found) - set(there))} rows of another length came in", ran)
        finally:
            database.wipe(server, dataset)
    vault.remove()


def wrong_key_of_the_repository(suite, group, server, name):
    """Without the repository's key nothing is written to the server: 12."""
    database, dataset = suite.database, "Sealed"
    vault = Vault(suite, server, "sealed")
    with group.case(name):
        try:
            plain(suite, server, dataset, group.random(name))
            vault.backup([dataset])
            before = database.read(server)
            file = vault.restore_file(rename={dataset: f"{dataset}Again"})
            vault.place.path("backup.key").rename(vault.place.path("kept.key"))
            vault.place.write("backup.key", "rsk1_" + "A" * 43 + "\n")
            vault.run(file, codes=(12,))
            vault.place.path("backup.key").unlink()
            ran = vault.run(file, codes=(2, 12))
            none(database.differences(before, database.read(server)), "something was written", ran)
        finally:
            database.wipe(server, dataset)
    vault.remove()


def same_id_twice(suite, group, server, name):
    """Two rows of one id: one of them cannot be kept, and that is said. Never is one lost in silence."""
    database, dataset = suite.database, "Double"
    vault = Vault(suite, server, "double")
    rng = group.random(name)
    with group.case(name):
        try:
            database.wipe(server, dataset)
            rows = simple.rows(rng, 10, whole=True)
            lines = [{"id": id, **database.as_import(row)} for id, row in rows.items()]
            lines.append({**lines[0], "number": 999})
            vault.place.write("rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
            file = vault.write("import", {"files": {"path": "rows.jsonl", "dataset": dataset, "id": "id"}}, database.sink())
            ran = vault.run(file, codes=(1, 2, 3, 4, 7)).says(lines[0]["id"], "twice", "duplicate", "same id")
            group.note(f"ids that come twice end with {ran.code}")
        finally:
            database.wipe(server, dataset)
    vault.remove()
