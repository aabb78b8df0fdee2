"""What a version or a message cannot hold: said, never left out in silence."""

from weaviate.classes.data import DataObject

from suite import Vault, expect, none

from . import fixture
from .fixture import BLOB_HASH, MULTI_VECTORS
from .rest import beacon

WORD = "Limit"


def jobs(suite, group):
    for server in suite.servers:
        for job in (small_pages, own_columns, not_a_number, huge):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)
        if server.handle.version() >= BLOB_HASH:
            name = f"digests {server.label}"
            yield name, lambda server=server, name=name: digests(suite, group, server, name)
        for other in suite.servers:
            if other.handle.version() < MULTI_VECTORS <= server.handle.version():
                for word in ("Named", "Quantised", "Mixed"):
                    name = f"{word} from {server.label} to {other.label}"
                    yield name, lambda server=server, other=other, word=word, name=name: too_new(suite, group, server, other, word, name)


def small_pages(suite, group, server, name):
    """Every boundary between pages, and ids of every kind: nothing is missing, nothing double."""
    with suite.filled(server, WORD, 14, only=["Ids", "Skipped"]) as made:
        for size in ("1B", "1KiB", "64KiB"):
            with group.case(f"{name}: {size}"):
                vault = Vault(suite, server, "pages")
                none(suite.database.row_differences(made.world, vault.export_server(made.names, page_bytes=size)), "the rows of the export are not those of the server")
                vault.remove()


def own_columns(suite, group, server, name):
    """A property that has the name of a column that restow keeps for itself: refused by name, or kept."""
    database, rest = suite.database, server.handle
    vault = Vault(suite, server, "own-columns")
    with group.case(name):
        try:
            database.wipe(server, WORD)
            properties = [fixture.prop("_restow_text_day", "text"), fixture.prop("day", "date")]
            rest.create({"class": f"{WORD}Own", "vectorizer": "none", "properties": properties})
            rest.put([{"class": f"{WORD}Own", "id": fixture.counter(1), "properties": {"_restow_text_day": "mine", "day": "2025-01-02T03:04:05.123456789Z"}}])
            before = database.read(server, WORD)
            ran = vault.backup([f"{WORD}Own"], codes=(0, 1, 2, 3, 7))
            if ran.code:
                ran.says("_restow_text_day")
            else:
                database.wipe(server, WORD)
                ran = vault.restore()
                none(database.differences(before, database.read(server, WORD)), "the restore differs", ran)
        finally:
            database.wipe(server, WORD)
    vault.remove()


def not_a_number(suite, group, server, name):
    """NaN and infinities in vectors, which gRPC takes. REST then answers the whole page with 200 and nothing: that is no end of a scan."""
    database, rest = suite.database, server.handle
    odd = [[float("nan"), 1.0, 2.0], [float("inf"), -float("inf"), -0.0], [1.0, 2.0, 3.0]]
    kinds = {"Plain": [fixture.prop("text", "text")], "Nested": [fixture.prop("text", "text"), fixture.prop("nest", "object", nestedProperties=[fixture.prop("inner", "text")])],
             "Referring": [fixture.prop("text", "text"), fixture.prop("to", [f"{WORD}Referring"])]}
    for word, properties in kinds.items():
        with group.case(f"{name}: {word}"):
            vault, dataset = Vault(suite, server, "not-a-number"), f"{WORD}{word}"
            try:
                database.wipe(server, WORD)
                fixture.put(rest, [fixture.Plan({"class": dataset, "vectorizer": "none", "vectorIndexType": "flat", "properties": properties})])
                with server.client() as client:
                    collection = client.collections.use(dataset)
                    for number in range(60):
                        values = {"text": f"row {number}"} | ({"nest": {"inner": "x"}} if word == "Nested" else {})
                        collection.data.insert_many([DataObject(uuid=fixture.counter(number + 1), properties=values, vector=odd[number % 20] if number % 20 < 3 else [1.0, 2.0, float(number)])])
                if word == "Referring":
                    rest.refer([{"from": f"{beacon(dataset, fixture.counter(number))}/to", "to": beacon(dataset, fixture.counter(number + 1))} for number in range(1, 20)])
                before = database.read(server, WORD)
                expect(before.count() == 60, f"the fixture has {before.count()} objects")
                vault.backup([dataset])
                none(database.row_differences(before, vault.export()), "the rows of the snapshot are not those of the server")
                ran = vault.restore(rename={dataset: f"{dataset}Again"})
                restored = database.read(server, names=[f"{dataset}Again"])
                none(database.differences(before, restored, {dataset: f"{dataset}Again"}), "the restore differs", ran)
            finally:
                database.wipe(server, WORD)
            vault.remove()


def huge(suite, group, server, name):
    """Objects of which one message of gRPC holds few, or, with --full, none."""
    database, rest = suite.database, server.handle
    vault = Vault(suite, server, "huge")
    with group.case(name):
        try:
            database.wipe(server, WORD)
            rest.create({"class": f"{WORD}Huge", "vectorizer": "none", "properties": [fixture.prop("blob", "blob"), fixture.prop("nest", "object", nestedProperties=[fixture.prop("blob", "blob")])]})
            make = fixture.Maker(15, WORD, rest.version(), False)
            make.begin("Huge")
            sizes = [4_000_000] * 12 + ([90_000_000] if suite.options.full else [])
            for number, size in enumerate(sizes):
                blob = make.blob(size)
                rest.put([{"class": f"{WORD}Huge", "id": fixture.counter(number + 1), "vector": [1, 2], "properties": {"nest": {"blob": blob}} if number % 3 == 0 else {"blob": blob}}])
            before = database.read(server, WORD)
            vault.backup([f"{WORD}Huge"])
            rename = {f"{WORD}Huge": f"{WORD}HugeAgain"}
            ran = vault.restore(rename=rename)
            none(database.differences(before, database.read(server, names=list(rename.values())), rename), "the restore differs", ran)
        finally:
            database.wipe(server, WORD)
    vault.remove()


def digests(suite, group, server, name):
    """`blobHash` keeps a digest of what is written, and so another digest of a digest: it cannot be restored, and that must be said."""
    database = suite.database
    vault = Vault(suite, server, "digests")
    with suite.filled(server, WORD, 16, only=["Hashed"]) as made:
        with group.case(f"{name}: backup"):
            vault.backup(made.names)
            none(database.row_differences(made.world, vault.export()), "the rows of the snapshot are not those of the server")
        with group.case(f"{name}: restore"):
            rename = {one: f"{one}Again" for one in made.names}
            ran = vault.restore(codes=(0, 1, 2, 3, 7), rename=rename)
            restored = database.read(server, names=list(rename.values()))
            wrong = [id for objects in restored.objects.values() for id, one in objects.items()
                     if one.properties.get("hash") not in (None, made.world.objects[made.names[0], None][id].properties["hash"])]
            expect(not wrong, f"{len(wrong)} objects have the digest of a digest", ran)
            if any("hash" not in one.properties for objects in restored.objects.values() for one in objects.values()) or not restored.count():
                ran.says("blobHash", "hash")
    vault.remove()


def too_new(suite, group, server, other, word, name):
    """What the older version does not know it takes without a word, and drops: restow must say so. What is there afterwards is as it was,
    or the end is not 0."""
    database = suite.database
    vault = Vault(suite, server, "too-new")
    with suite.filled(server, WORD, 17, only=[word]) as made:
        with group.case(name):
            try:
                vault.backup(made.names)
                database.wipe(other, WORD)
                ran = vault.restore(server=other, codes=(0, 1, 2, 3, 7))
                arrived = database.read(other, WORD)
                group.note(f"{word} to a version that lacks a part of it ends with {ran.code}")
                if ran.code == 0:
                    # Options of an index may be lost where that is said; vectors and values not.
                    wrong = database.differences(made.world, arrived, across=True)
                    none([line for line in wrong if not line.startswith("classes/")], "values are lost", ran)
                    ran.says("rq", "multivector", "muvera", "vectorConfig")
                else:
                    ran.says("1.27", "version", "support", "multi", "rq", "named vectors")
            finally:
                database.wipe(other, WORD)
    vault.remove()
