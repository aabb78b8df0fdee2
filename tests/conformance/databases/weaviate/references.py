"""References: never doubled, kept where they point to nothing, and turned to the new name of a class that is renamed."""

from suite import Vault, expect, none

WORD = "Graph"
CLASSES = ["Org", "Person", "Article"]


def jobs(suite, group):
    for server in suite.servers:
        for job in (written_again, one_class, thinned, one_dropped):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: on_fixture(suite, group, server, name, job)


def on_fixture(suite, group, server, name, job):
    vault, database = Vault(suite, server, "references"), suite.database
    with suite.filled(server, WORD, 12, only=CLASSES) as made:
        expect(any(len(set(found)) < len(found) for objects in made.world.objects.values() for one in objects.values() for found in one.references.values()), "the fixture has no double reference")
        vault.backup(made.names)
        try:
            job(suite, group, server, name, vault, made, {one: f"New{one}" for one in made.names})
        finally:
            database.wipe(server, "New")
    vault.remove()


def written_again(suite, group, server, name, vault, made, rename):
    """Onto itself, twice: each object has the references that it had, once."""
    database = suite.database
    with group.case(name):
        vault.restore(rename=rename)
        for number in range(2):
            ran = vault.restore(name=f"again-{number}", rename=rename, mode="append", conflicts="overwrite", safety="none")
            none(database.differences(made.world, database.read(server, "New"), rename), f"written over, {number + 1} times, it differs", ran)


def one_class(suite, group, server, name, vault, made, rename):
    """Only the class that refers: its references go on pointing to the classes that are there."""
    database, article = suite.database, f"{WORD}Article"
    with group.case(name):
        ran = vault.restore([article], rename={article: rename[article]})
        none(database.differences(database.part(made.world, [article]), database.read(server, "New"), {article: rename[article]}), "the restore differs", ran)


def thinned(suite, group, server, name, vault, made, rename):
    """Objects that others refer to are left out: the references stay, and point to nothing."""
    database, person = suite.database, f"{WORD}Person"
    with group.case(name):
        ran = vault.restore(stages=[{"filter": {"sql": "id < '00000000-0000-0000-0000-000000000011'", "datasets": [person]}}], rename=rename)
        expected = database.part(made.world, made.names)
        expected.objects = {**expected.objects, (person, None): {id: one for id, one in expected.objects[person, None].items() if id < "00000000-0000-0000-0000-000000000011"}}
        none(database.differences(expected, database.read(server, "New"), rename), "the restore differs", ran)


def one_dropped(suite, group, server, name, vault, made, rename):
    """A transform drops the property that refers: the class comes without it, and all else as it was."""
    database, person = suite.database, f"{WORD}Person"
    with group.case(name):
        ran = vault.restore(stages=[{"transform": {"drop": ["knows"], "datasets": [person]}}], rename=rename)
        restored = database.read(server, "New")
        wrong = [line for line in database.differences(made.world, restored, rename) if "/knows: " not in line and not line.startswith("and ")]
        none(wrong, "the restore differs", ran)
        expect("knows" not in restored.classes[rename[person]]["properties"], "the property is still there", ran)
        expect(not any("knows" in one.references for one in restored.objects[rename[person], None].values()), "objects still have it", ran)
