"""The server's own Parquet export: its files read without the server, as the reader of a backup, and written in the same layout. Compared
with what REST and the official client say, cell by cell."""

import contextlib
import json
import shutil
import threading
import time
import uuid
from pathlib import Path

from suite import Vault, expect, none, read_export

from .rest import Refused

WORD = "Exported"
FIRST = (1, 37)
FOLDER = {"export": {"backend": "filesystem"}}


def jobs(suite, group):
    for server in suite.servers:
        found = (offline, offline_restored, types_found, reader, killed, one_at_a_time, refusals, layout) if server.handle.version() >= FIRST else (too_old,)
        for job in found:
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: in_vault(suite, group, server, name, job)


def in_vault(suite, group, server, name, job):
    vault = Vault(suite, server, "export")
    job(suite, group, server, name, vault)
    vault.remove()


@contextlib.contextmanager
def exported(server, names):
    """The folder of an export of these classes, made by REST; it goes at the end."""
    rest, id = server.handle, f"suite-{uuid.uuid4().hex}"
    folder = Path(rest.call("POST", "/export/filesystem", {"id": id, "file_format": "parquet", "include": names})["path"])
    try:
        wait(rest, id)
        yield folder
    finally:
        wait(rest, id)
        shutil.rmtree(folder, ignore_errors=True)


def wait(rest, id, pause=0.2):
    until = time.monotonic() + 300
    while (found := rest.call("GET", f"/export/filesystem/{id}"))["status"] not in ("SUCCESS", "FAILED", "CANCELED"):
        expect(time.monotonic() < until, f"export {id} does not end: {found}")
        time.sleep(pause)
    return found["status"]


def definitions(server, vault):
    vault.place.write("schema.json", server.handle.send("GET", "/schema")[1])
    return "schema.json"


def folders(server, names):
    """All exports on the server; where they are is told only by making one."""
    with exported(server, names[:1]) as folder:
        return {path.name for path in folder.parent.iterdir() if path != folder}, folder.parent


def remove_ours(server, names):
    found, parent = folders(server, names)
    for name in found:
        if name.startswith("restow-"):
            shutil.rmtree(parent / name)


def offline(suite, group, server, name, vault):
    """Every row of the fixture, without the server; also from the Parquet files alone."""
    base, database = suite.base(server), suite.database
    with exported(server, base.names) as folder:
        schema = definitions(server, vault)
        source = {"weaviate_export": {"path": str(folder), "definitions": schema}}
        with group.case(name):
            found = vault.exported(source, (), None, (), (0,))
            none(database.row_differences(base.world, found), "the rows of the export are not those of the server")
        with group.case(f"{name}: files alone"):
            alone = vault.place.path("alone")
            alone.mkdir()
            for file in folder.glob("*.parquet"):
                shutil.copy(file, alone)
            # Classes without an object have no file.
            full = sorted({owner for (owner, _), objects in base.world.objects.items() if objects})
            found = vault.exported({"weaviate_export": {"path": "alone", "definitions": schema}}, (), None, (), (0,))
            none(database.row_differences(database.part(base.world, full), found), "the rows of the files are not those of the server")
        with group.case(f"{name}: a file is missing"):
            sorted(folder.glob("*.parquet"))[0].unlink()
            ran = vault.run(vault.write("missing", source, {"files": {"path": "missing"}}, [{"codec": {"parquet": {}}}]), codes=(1,))
            ran.says("not whole")


def offline_restored(suite, group, server, name, vault):
    """An export with definitions becomes the same classes."""
    database = suite.database
    with suite.filled(server, WORD, 21, only=["Org", "Person", "Article", "Named", "Mixed", "Everything"]) as made, exported(server, made.names) as folder:
        rename = {one: f"New{one}" for one in made.names}
        try:
            with group.case(name):
                source = {"weaviate_export": {"path": str(folder), "definitions": definitions(server, vault)}}
                ran = vault.run(vault.write("restore", source, database.sink(rename=rename)))
                wrong = [line for line in database.differences(made.world, database.read(server, "New"), rename, across=True) if not line.startswith("aliases/")]
                none(wrong, "the restore differs", ran)
        finally:
            database.wipe(server, "New")


def types_found(suite, group, server, name, vault):
    """Without definitions the objects come back as they are, whatever the types are called."""
    database = suite.database
    with suite.filled(server, WORD, 22, only=["Org", "Person", "Article", "Named", "Tenants", "Everything"], tenants=6, per_tenant=30) as made, exported(server, made.names) as folder:
        rename = {one: f"New{one}" for one in made.names}
        try:
            with group.case(name):
                source = {"weaviate_export": {"path": str(folder)}}
                ran = vault.run(vault.write("restore", source, database.sink(rename=rename)))
                lines = database.differences(made.world, database.read(server, "New"), rename, across=True)
                none([line for line in lines if line.startswith("objects/")], "the objects differ", ran)
                for one in made.names:
                    expect(rename[one] in server.handle.classes(), f"{rename[one]} is missing", ran)
        finally:
            database.wipe(server, "New")


def reader(suite, group, server, name, vault):
    """As the reader of the source: all rows, tenants that sleep go on sleeping."""
    base, database = suite.base(server), suite.database
    parent = folders(server, base.names)[1]
    try:
        for what, options in (("where the server says", FOLDER), ("where the user says", {"export": {"backend": "filesystem", "files": str(parent)}})):
            with group.case(f"{name}: {what}"):
                found = vault.export_server(base.names, cold_tenants="refuse", reader=options)
                none(database.row_differences(base.world, found), "the rows of the export are not those of the server")
                none(database.differences(base.world, database.read(server, base.prefix)), "the export changed the server")
        with group.case(f"{name}: backup and restore"):
            with suite.filled(server, WORD, 23, only=["Org", "Tenants", "Named"], tenants=6, per_tenant=30) as made:
                vault.backup(made.names, reader=FOLDER)
                vault.verify()
                rename = {one: f"New{one}" for one in made.names}
                try:
                    ran = vault.restore(rename=rename)
                    none(database.differences(made.world, database.read(server, "New"), rename), "the restore differs", ran)
                finally:
                    database.wipe(server, "New")
    finally:
        remove_ours(server, base.names)


def killed(suite, group, server, name, vault):
    """Killed at any moment and run again, while the server changes between: the rows are of one export, never of two."""
    database, rng = suite.database, group.random(name)
    with suite.filled(server, WORD, 24, only=["Org", "Tenants", "Named"], tenants=12, per_tenant=60) as made:
        named = f"{WORD}Named"
        worlds = [made.world]
        try:
            for number in range(6 if suite.options.full else 3):
                with group.case(f"{name}: {number}"):
                    options = {"name": f"backup-{number}", "reader": FOLDER}
                    file = vault.backup_file(made.names, **options)
                    vault.start(file).kill_after(rng.uniform(0.3, 4.0))
                    # The next attempt meets another server.
                    for id in sorted(one["id"] for one in server.handle.objects(named))[:5]:
                        server.handle.call("DELETE", f"/objects/{named}/{id}", takes=(204, 404))
                    worlds.append(database.read(server, WORD))
                    ran = vault.run(file)
                    found = vault.export()
                    wrong = [database.row_differences(world, found) for world in worlds[-2:]]
                    expect(not all(wrong), "the rows are of no export: " + "; ".join(wrong[0][:5] + wrong[1][:5]), ran)
        finally:
            remove_ours(server, made.names)


def one_at_a_time(suite, group, server, name, vault):
    """While another export runs the run is refused, and leaves that one alone. Exports are short: others follow one another until a run
    has met one."""
    base = suite.base(server)
    with group.case(name):
        with Others(server.handle) as others:
            for attempt in range(20):
                ran = vault.run(vault.backup_file(base.names, name=f"second-{attempt}", reader=FOLDER), codes=(0, 7))
                expect(others.thread.is_alive(), f"the other exports ended: {others.ended}", ran)
                if ran.code == 7:
                    ran.says("already active")
                    break
            else:
                expect(False, f"none of 20 runs met another export; there were {len(others.ended)}")
        expect(others.ended and set(others.ended) == {"SUCCESS"}, f"the other exports ended with {sorted(set(others.ended))}")
    remove_ours(server, base.names)


class Others:
    """Exports of somebody else, one after the other; one of restow that is met is waited for."""

    def __init__(self, rest):
        self.rest, self.ended, self.stop = rest, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(300)

    def run(self):
        while not self.stop.is_set():
            id = f"suite-{uuid.uuid4().hex}"
            try:
                folder = Path(self.rest.call("POST", "/export/filesystem", {"id": id, "file_format": "parquet"})["path"])
            except Refused as refused:
                if "already active" not in refused.body:
                    raise
                time.sleep(0.02)
                continue
            self.ended.append(wait(self.rest, id, 0.01))
            shutil.rmtree(folder, ignore_errors=True)


def refusals(suite, group, server, name, vault):
    """What cannot be exported or reached is said by name."""
    base = suite.base(server)
    with group.case(f"{name}: no module"):
        ran = vault.run(vault.backup_file(base.names, name="module", reader={"export": {"backend": "s3"}}), codes=(7,))
        ran.says("nothing was read")
    with group.case(f"{name}: another folder"):
        ran = vault.run(vault.backup_file(base.names, name="folder", reader={"export": {"backend": "filesystem", "files": "nowhere"}}), codes=(1,))
        ran.says("nowhere")
        # Cancelled: another one can be made at once.
        none(suite.database.row_differences(base.world, vault.export_server(base.names, cold_tenants="refuse", reader=FOLDER)), "the rows are not those of the server")
    remove_ours(server, base.names)


def layout(suite, group, server, name, vault):
    """The rows of the server in the layout of its export, by way of restow: read again they are the same; pyarrow sees the columns."""
    base, database = suite.base(server), suite.database
    with group.case(name):
        source = database.source(base.names)
        stages = [{"reshape": {"weaviate_export": {}}}, {"codec": {"parquet": {"compression": "zstd"}}}]
        vault.run(vault.write("layout", source, {"files": {"path": "layout"}}, stages))
        rows = read_export(vault.place.path("layout"))
        columns = {column for found in rows.values() for row in found for column in row}
        expect(columns == {"id", "class_name", "_tenant", "creation_time", "update_time", "vector", "named_vectors", "multi_vectors", "properties"}, f"columns {columns}")
        expect(all(row["class_name"] == dataset and isinstance(json.loads(row["properties"]), dict) for dataset, found in rows.items() for row in found), "rows of another class")
        found = vault.exported({"weaviate_export": {"path": "layout", "definitions": definitions(server, vault)}}, (), None, (), (0,))
        none(database.row_differences(base.world, found), "the rows are not those of the server")


def too_old(suite, group, server, name, vault):
    base = suite.base(server)
    with group.case(name):
        ran = vault.run(vault.backup_file(base.names, reader=FOLDER), codes=(7,))
        ran.says("1.37")
