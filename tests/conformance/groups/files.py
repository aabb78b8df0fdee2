"""From the server into files and from files into the server, with no repository between."""

import json

import pyarrow
import pyarrow.parquet

import simple
from suite import Vault, expect, none


def jobs(suite, group):
    for server in suite.servers:
        for job in (exports, imports_parquet, imports_lines, moves_back):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)


def exports(suite, group, server, name):
    """Every row of the fixture in Parquet, as pyarrow reads it."""
    base = suite.base(server)
    vault = Vault(suite, server, "exports")
    with group.case(name):
        none(suite.database.row_differences(base.world, vault.export_server(base.names)), "the rows of the export are not those of the server")
        none(suite.database.differences(base.world, suite.database.read(server, base.prefix)), "the export changed the server")
    vault.remove()


def imports_parquet(suite, group, server, name):
    """A Parquet file becomes a dataset, made from its columns."""
    database, dataset = suite.database, "FromParquet"
    rows, vault = simple.rows(group.random(name), 300), Vault(suite, server, "parquet")
    database.wipe(server, dataset)
    with group.case(name):
        try:
            names = ["id", *simple.FIELDS, *sorted(set(database.as_import(next(iter(rows.values())))) - set(simple.FIELDS))]
            made = {id: database.as_import(row) for id, row in rows.items()}
            kinds = {"id": pyarrow.string(), "name": pyarrow.string(), "number": pyarrow.int64(), "ratio": pyarrow.float64(), "flag": pyarrow.bool_(),
                     "day": pyarrow.timestamp("us", tz="UTC"), "tags": pyarrow.list_(pyarrow.string())}
            columns = {}
            for column in names:
                values = [id if column == "id" else row.get(column) for id, row in made.items()]
                if column == "day":
                    columns[column] = pyarrow.array([value and value.replace("Z", "") for value in values]).cast(pyarrow.timestamp("us")).cast(kinds[column])
                else:
                    columns[column] = pyarrow.array(values, type=kinds.get(column, pyarrow.list_(pyarrow.float32(), simple.SIZE)))
            pyarrow.parquet.write_table(pyarrow.table(columns), vault.place.path(f"{dataset}.parquet"))
            file = vault.write("import", {"files": {"path": f"{dataset}.parquet", "id": "id"}}, database.sink())
            ran = vault.run(file)
            wrong = simple.difference(rows, database.rows(server, dataset))
            expect(wrong is None, f"the import differs: {wrong}", ran)
        finally:
            database.wipe(server, dataset)
    vault.remove()


def imports_lines(suite, group, server, name):
    """JSON lines are appended to a dataset that is there: its types are those of the columns. A vector is declared, or recognised, or the
    run is refused; it never becomes anything else."""
    database, dataset = suite.database, "FromLines"
    rng = group.random(name)
    old, new, vault = simple.rows(rng, 40), simple.rows(rng, 300), Vault(suite, server, "lines")
    rows = {id: database.as_import(row) for id, row in new.items()}
    vault.place.write("rows.jsonl", "".join(json.dumps({"id": id, **row}, ensure_ascii=False) + "\n" for id, row in rows.items()))
    vectors = {column: f"vector({simple.SIZE})" for column in next(iter(rows.values())) if column not in simple.FIELDS}
    for what, more in (("declared", {"schema": vectors}), ("recognised", {})):
        with group.case(f"{name}: {what}"):
            try:
                database.wipe(server, dataset)
                database.make(server, dataset)
                database.put(server, dataset, old)
                file = vault.write(f"import-{what}", {"files": {"path": "rows.jsonl", "dataset": dataset, "id": "id", **more}}, database.sink(mode="append"))
                ran = vault.run(file, codes=(0,) if more else (0, 2, 7))
                wrong = simple.difference({**old, **new} if ran.code == 0 else old, database.rows(server, dataset))
                expect(wrong is None, f"the import differs: {wrong}", ran)
            finally:
                database.wipe(server, dataset)
    vault.remove()


def moves_back(suite, group, server, name):
    """A plain dataset out to Parquet and in again under another name."""
    database, dataset = suite.database, "Round"
    rows, vault = simple.rows(group.random(name), 150), Vault(suite, server, "moves")
    database.wipe(server, dataset)
    with group.case(name):
        try:
            database.make(server, dataset)
            database.put(server, dataset, rows)
            found = vault.export_server([dataset])
            wrong = simple.difference(rows, {row["id"]: database.of_export(row) for row in found[dataset]})
            expect(wrong is None, f"the export differs: {wrong}")
            # What was exported of restow's own, times, belongs to no property.
            source = {"files": {"path": f"export-{vault.exports}/{dataset}", "dataset": f"{dataset}Again", "id": "id"}}
            ran = vault.run(vault.write("import", source, database.sink()))
            wrong = simple.difference(rows, database.rows(server, f"{dataset}Again"))
            expect(wrong is None, f"the import differs: {wrong}", ran)
        finally:
            database.wipe(server, dataset)
    vault.remove()
