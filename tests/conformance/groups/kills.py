"""SIGKILL at random moments of a restore and of a backup; two processes on one restore. The same command afterwards makes it good."""

import signal
import time

import simple
from harness import Failed
from suite import Vault, expect, none

# How the target looks before, and what may stand in the way: mode and conflicts of the sink.
RULES = [("create", None), ("append", "fail"), ("append", "overwrite"), ("append", "skip"), ("append", "merge"), ("drop", None)]


def jobs(suite, group):
    """10 kills of restores and some of backups over all rules and servers; 100 with --full. They are at random times; `steps` kills at
    chosen ones, and restores that are being taken back."""
    count = 100 if suite.options.full else 10
    for number, server in enumerate(suite.servers):
        share = count // len(suite.servers)
        name = f"whole {server.label}"
        yield name, lambda server=server, name=name, share=share: whole_restores(suite, group, server, name, max(2, share // 4))
        name = f"backups {server.label}"
        yield name, lambda server=server, name=name, share=share: backups(suite, group, server, name, max(3, share // 4))
        for rule in RULES:
            name = f"{' '.join(filter(None, rule))} {server.label}"
            # Five kills of rules a server in a quick run: each rule dies on one of the two servers, and some on both.
            yield name, lambda server=server, name=name, rule=rule, share=share: by_rule(suite, group, server, name, rule, max(1, share // len(RULES)))
        name = f"second process {server.label}"
        yield name, lambda server=server, name=name: second_process(suite, group, server, name)


def kill(group, vault, file, after, what):
    """Kills a run at that time after its start, and tells whether it had ended well before."""
    ran = vault.start(file).kill_after(after)
    expect(ran.code in (0, -9), "neither done nor killed", ran)
    group.note(f"{what} killed after their end" if ran.code == 0 else f"{what} killed")
    return ran.code == 0


def settle():
    """What a dead process has sent may still be carried out."""
    time.sleep(0.5)


def again(vault, file, done, ends_when_done=(0,)):
    """The same command: it finishes what was begun. Where that was finished before, it starts anew, and may be refused."""
    ran = vault.run(file, codes=(0, *(ends_when_done if done else ())))
    expect(ran.code or ran.summary()["status"] == "done", "the run is not done", ran)
    return ran


def whole_restores(suite, group, server, name, count):
    """References, tenants, named vectors: nothing doubled, nothing lost, statuses as they were."""
    database, prefix = suite.database, "Killed"
    rng, vault = group.random(name), Vault(suite, server, "kills")
    with suite.filled(server, prefix, rng.randrange(1 << 32), **database.for_kills) as made:
        rename = {one: f"Risen{one}" for one in made.names}
        expected = database.part(made.world, made.names)
        vault.backup(made.names)
        try:
            seconds = vault.restore(name="measured", rename=rename).seconds
            for number in range(count):
                with group.case(f"{name}: kill {number}"):
                    database.wipe(server, "Risen")
                    file = vault.restore_file(name=f"restore-{number}", rename=rename)
                    at = rng.uniform(0, 1.1 * seconds)
                    done = kill(group, vault, file, at, "restores")
                    if number % 5 == 4 and not done:
                        done = kill(group, vault, file, rng.uniform(0, seconds), "resumed restores")
                    settle()
                    killed = database.read(server, "Risen")
                    ran = again(vault, file, done or not database.differences(expected, killed, rename), (7,))
                    restored = database.read(server, "Risen")
                    none(database.differences(expected, restored, rename), f"killed after {at:.2f} of {seconds:.2f} s, the restore differs", ran)
                    none(database.differences(made.world, database.read(server, prefix)), "what was backed up has changed", ran)
        finally:
            database.wipe(server, "Risen")
    vault.remove()


def by_rule(suite, group, server, name, rule, count):
    """A target that holds half of the ids with other values, and rows of its own, under each rule about conflicts."""
    database, prefix = suite.database, "Ruled"
    mode, conflicts = rule
    rng, vault = group.random(name), Vault(suite, server, "rules")
    database.wipe(server, prefix)
    backup = simple.rows(rng, 3000)
    source, target = f"{prefix}From", f"{prefix}To"
    try:
        database.make(server, source)
        database.put(server, source, backup)
        # Not `latest`: a safety snapshot is later.
        snapshot = vault.backup([source]).summary()["snapshot"]
        options = {"mode": mode} | ({"conflicts": conflicts} if conflicts else {})
        # In turns with a safety snapshot and without one, where one is needed.
        unsafe = [{}] if (mode, conflicts) in (("create", None), ("append", "fail"), ("append", "skip")) else [{"safety": "none"}, {"safety": {"connection": "backups"}}]
        there = {}
        if mode != "create":
            there = simple.rows(rng, 500, 10_000)
            if conflicts != "fail":
                there |= {id: simple.row(rng, 20_000 + number) for number, id in enumerate(rng.sample(sorted(backup), 1500))}
        expected = outcome(mode, conflicts, backup, there)
        seconds = None
        for number in range(-1, count):
            with group.case(f"{name}: kill {number}" if number >= 0 else f"{name}: undisturbed"):
                database.wipe(server, target)
                if mode != "create":
                    database.make(server, target)
                    database.put(server, target, there)
                known, keeps = set(vault.snapshots()), "connection" in str(unsafe[number % len(unsafe)])
                file = vault.restore_file([source], name=f"restore-{number}", snapshot=snapshot, rename={source: target}, **options, **unsafe[number % len(unsafe)])
                if number < 0:
                    ran = vault.run(file)
                    seconds = ran.seconds
                else:
                    at = rng.uniform(0, 1.1 * (seconds or 3.0))
                    done = kill(group, vault, file, at, f"restores {' '.join(filter(None, rule))}")
                    settle()
                    found = safe_rows(database, server, target)
                    foreign = {id: row for id, row in there.items() if id not in backup}
                    if mode == "append":
                        wrong = simple.difference(foreign, {id: row for id, row in found.items() if id in foreign})
                        expect(wrong is None, f"killed after {at:.2f} s, rows that are none of its business: {wrong}")
                    ran = again(vault, file, done or found == expected, (7,) if mode == "create" or conflicts == "fail" else (0,))
                    kept = [id for id in vault.snapshots() if id not in known]
                    expect(keeps or not kept, f"snapshots were made: {kept}", ran)
                    # Where the first attempt was over before it was killed, the second one has kept what that one made.
                    expect(not keeps or len(kept) == 1 or done, f"{len(kept)} safety snapshots were made", ran)
                    for id in kept[:0 if done else 1]:
                        safe = {row["id"]: database.of_export(row) for row in vault.export(snapshot=id).get(target, [])}
                        wrong = simple.difference(there, safe)
                        expect(wrong is None, f"the safety snapshot is not what was there before the first attempt: {wrong}", ran)
                wrong = simple.difference(expected, database.rows(server, target))
                expect(wrong is None, f"the target: {wrong}", ran)
        if conflicts == "fail":
            with group.case(f"{name}: an id that is there"):
                database.wipe(server, target)
                database.make(server, target)
                one = next(iter(backup))
                there = {**there, one: simple.row(rng, 1)}
                database.put(server, target, there)
                ran = vault.restore([source], name="refused", codes=(7,), snapshot=snapshot, rename={source: target}, **options)
                wrong = simple.difference(there, database.rows(server, target))
                expect(wrong is None, f"the refused restore changed something: {wrong}", ran)
    finally:
        database.wipe(server, prefix)
    vault.remove()


def safe_rows(database, server, dataset):
    """The rows of a dataset that may not be there."""
    return database.rows(server, dataset) if dataset in database.present(server) else {}


def outcome(mode, conflicts, backup, there):
    """What a target holds in the end."""
    if mode in ("create", "drop"):
        return backup
    if conflicts == "skip":
        return {**backup, **there}
    if conflicts == "merge":
        return {**there, **{id: {**there.get(id, {}), **row} for id, row in backup.items()}}
    return {**there, **backup}


def backups(suite, group, server, name, count):
    """A backup that is killed leaves the server as it was, or the next one does; and no half snapshot."""
    database, prefix = suite.database, "Dying"
    rng, vault = group.random(name), Vault(suite, server, "backups")
    with suite.filled(server, prefix, rng.randrange(1 << 32), **database.for_kills) as made:
        # Small pages: the more moments to die at.
        seconds = vault.backup(made.names, **database.slow).seconds
        known = vault.snapshots()
        for number in range(count):
            with group.case(f"{name}: kill {number}"):
                file = vault.backup_file(made.names, **database.slow)
                done = kill(group, vault, file, rng.uniform(0, seconds), "backups")
                left = database.differences(made.world, database.read(server, prefix))
                group.note("backups that died and left the server changed until the next run", bool(left))
                new = [id for id in vault.snapshots() if id not in known]
                expect(len(new) <= 1 and (new or not done), f"a run that {'was done' if done else 'was killed'} left the snapshots {new}")
                ran = vault.run(file)
                expect(ran.summary()["status"] == "done", "the run is not done", ran)
                none(database.differences(made.world, database.read(server, prefix)), "the server is not as it was", ran)
                none(database.row_differences(made.world, vault.export(snapshot=ran.summary()["snapshot"])), "the rows of the snapshot are not those of the server", ran)
                known = vault.snapshots()
        with group.case(f"{name}: all snapshots"):
            vault.verify()
    vault.remove()


def second_process(suite, group, server, name):
    """Two processes on one restore: one of them finishes it, the other ends with 11, whichever it is, and no row is doubled."""
    database, prefix = suite.database, "Twin"
    vault = Vault(suite, server, "twins")
    with suite.filled(server, prefix, 5, **database.for_kills) as made:
        vault.backup(made.names)
        for number in range(4 if suite.options.full else 2):
            rename = {one: f"Born{one}" for one in made.names}
            database.wipe(server, "Born")
            with group.case(f"{name}: {number}"):
                file = vault.restore_file(name=f"restore-{number}", rename=rename)
                first = vault.start(file)
                seen = first.until("something on the server", lambda: set(rename.values()) & set(database.present(server)))
                if not seen:
                    raise Failed(f"the restore ended before anything was seen of it\n{first.end().text()}")
                if number % 2 == 0:
                    first.signal(signal.SIGSTOP)
                second = vault.start(file)
                if number % 2 == 0:
                    wait(second)
                    first.signal(signal.SIGCONT)
                ended = [first.end(600), second.end(600)]
                codes = sorted(ran.code for ran in ended)
                # 7: it came when the first was done.
                expect(codes in ([0, 11], [0, 7]), f"ended with {codes}", *ended)
                group.note(f"the {'first' if ended[0].code == 0 else 'second'} of two processes finished it")
                restored = database.read(server, "Born")
                none(database.differences(database.part(made.world, made.names), restored, rename), "the restore differs", *ended)
        database.wipe(server, "Born")
    vault.remove()


def wait(run, seconds=20.0):
    """Waits until a process ended, or that long."""
    until = time.monotonic() + seconds
    while run.lives() and time.monotonic() < until:
        time.sleep(0.05)
