"""Verification of restores by every row: what is right passes, and what somebody spoiled in between is noticed and taken back."""

import contextlib
import signal

import simple
from suite import Vault, expect, none

VERIFIED = {"verify": {"after": "rows"}}
ROWS = 8000


def jobs(suite, group):
    for server in suite.servers:
        name = f"whole {server.label}"
        yield name, lambda server=server, name=name: whole(suite, group, server, name)
        for mode, conflicts in (("append", "merge"), ("append", "skip")):
            name = f"{conflicts} {server.label}"
            yield name, lambda server=server, name=name, conflicts=conflicts: by_rule(suite, group, server, name, conflicts)
        for mode, conflicts in (("create", None), ("append", "overwrite")):
            name = f"spoiled {mode} {server.label}"
            yield name, lambda server=server, name=name, mode=mode, conflicts=conflicts: spoiled(suite, group, server, name, mode, conflicts)


def compared(ran):
    """How many rows the verification has compared."""
    return sum(item["done"] for item in ran.summary()["items"] if item["phase"] == "verification")


def whole(suite, group, server, name):
    """Everything that a server can hold, under other names."""
    database, prefix = suite.database, "Verified"
    rng, vault = group.random(name), Vault(suite, server, "verified")
    with suite.filled(server, prefix, rng.randrange(1 << 32), **database.for_kills) as made, group.case(name):
        rename = {one: f"Proven{one}" for one in made.names}
        vault.backup(made.names)
        database.wipe(server, "Proven")
        try:
            ran = vault.restore(rename=rename, more=VERIFIED)
            written = ran.summary()["counts"]["written"]
            expect(written and compared(ran) == written, f"{written} rows were written, and {compared(ran)} compared", ran)
            none(database.differences(database.part(made.world, made.names), database.read(server, "Proven"), rename), "the restore differs", ran)
        finally:
            database.wipe(server, "Proven")
    vault.remove()


def by_rule(suite, group, server, name, conflicts):
    """Rows that are there keep what the backup lacks: that is no difference."""
    database, rng, vault = suite.database, group.random(name), Vault(suite, server, "rules")
    backup = simple.rows(rng, 300)
    there = {id: simple.row(rng, 20_000 + number) for number, id in enumerate(rng.sample(sorted(backup), 150))}
    database.wipe(server, "Proof")
    try:
        with group.case(name):
            for dataset, rows in (("ProofFrom", backup), ("ProofTo", there)):
                database.make(server, dataset)
                database.put(server, dataset, rows)
            snapshot = vault.backup(["ProofFrom"]).summary()["snapshot"]
            ran = vault.restore(["ProofFrom"], snapshot=snapshot, rename={"ProofFrom": "ProofTo"}, mode="append", conflicts=conflicts, more=VERIFIED,
                                **({"safety": "none"} if conflicts == "merge" else {}))
            expect(compared(ran) == ran.summary()["counts"]["written"], "not all that was written was compared", ran)
    finally:
        database.wipe(server, "Proof")
    vault.remove()


def spoiled(suite, group, server, name, mode, conflicts):
    """A row is changed between its writing and its verification: the restore ends with 4, and the target is what it was before."""
    database, rng, vault = suite.database, group.random(name), Vault(suite, server, "spoiled")
    backup = simple.rows(rng, ROWS)
    there = {id: simple.row(rng, 20_000 + number) for number, id in enumerate(rng.sample(sorted(backup), 500))} | simple.rows(rng, 300, 40_000)
    database.wipe(server, "Spoil")
    running = None
    try:
        with group.case(name):
            database.make(server, "SpoilFrom")
            database.put(server, "SpoilFrom", backup)
            if mode == "append":
                database.make(server, "SpoilTo")
                database.put(server, "SpoilTo", there)
            snapshot = vault.backup(["SpoilFrom"]).summary()["snapshot"]
            options = {"mode": mode} | ({"conflicts": conflicts, "safety": {"connection": "backups"}} if conflicts else {})
            file = vault.restore_file(["SpoilFrom"], snapshot=snapshot, rename={"SpoilFrom": "SpoilTo"}, more=VERIFIED, **options, **database.slow_sink)
            running = vault.start(file)
            seen = {}

            def written():
                # It comes into being while it is looked at.
                with contextlib.suppress(Exception):
                    found = database.rows(server, "SpoilTo") if "SpoilTo" in database.present(server) else {}
                    seen.update({id: row for id, row in found.items() if backup.get(id) == row})
                return seen

            expect(running.until("a row that is written", written), "the restore ended before anything was seen of it")
            running.signal(signal.SIGSTOP)
            victim = next(iter(seen))
            database.put(server, "SpoilTo", {victim: simple.row(rng, 77_777)})
            running.signal(signal.SIGCONT)
            ran = running.end(600)
            ran.ends(4)
            expect(victim in ran.out and "taken back" in ran.out, f"the message names neither {victim} nor what is safe", ran)
            if mode == "create":
                expect("SpoilTo" not in database.present(server), "what the restore had made is still there", ran)
            else:
                wrong = simple.difference(there, database.rows(server, "SpoilTo"))
                expect(wrong is None, f"the target is not what it was: {wrong}", ran)
    finally:
        if running and running.lives():
            running.signal(signal.SIGKILL)
        database.wipe(server, "Spoil")
    vault.remove()
