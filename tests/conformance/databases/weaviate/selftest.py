"""Tests the suite itself, without restow: the reader reads the same twice, agrees with the official client, a copy by REST alone is equal,
and everything that is planted is found, and only that."""

import copy as copies
import struct

import simple
from suite import expect, none

from . import copier, fixture, rows, world
from .fixture import ALIASES, MULTI_VECTORS, ROLES, counter
from .rest import beacon


def jobs(suite, group):
    for server in suite.servers:
        for job in (reader, planted, planted_in_rows, plain):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)


def reader(suite, group, server, name):
    rest, base = server.handle, suite.base(server)
    with group.case(f"{name}: the same twice"):
        none(world.differences(base.world, world.read(rest, base.prefix)), "two readings of one server differ")
        expect(base.world.count() > 4000, f"only {base.world.count()} objects")
    with group.case(f"{name}: as the official client"):
        client = server.client()
        try:
            none(world.cross_check(base.world, client), "the official client sees something else")
        finally:
            client.close()
    with group.case(f"{name}: the same fixture again"):
        fixture.wipe(rest, "Twice")
        fixture.fill(rest, suite.options.seed % 997, "Twice", suite.options.full)
        rename = {one: one.replace("Base", "Twice", 1) for one in base.names}
        again = world.read(rest, names=list(rename.values()))
        fixture.wipe(rest, "Twice")
        none(world.differences(base.world.of(base.names), again, rename=rename), "the same seed makes another fixture")
    with group.case(f"{name}: a copy"):
        rename = {one: f"Copy{one}" for one in base.names}
        copier.copy(base.world.of(base.names), rest, rename)
        copied = world.read(rest, names=list(rename.values()))
        none(world.differences(base.world.of(base.names), copied, rename=rename), "a copy by REST differs")
        expect(world.differences(base.world.of(base.names), copied), "without the new names nothing differs")
        fixture.wipe(rest, "Copy")


def planted(suite, group, server, name):
    """Changes a server in one place, and looks whether that place is named, and no other."""
    rest, prefix = server.handle, "Plant"
    fixture.wipe(rest, prefix)
    fixture.fill(rest, 7, prefix, tenants=10, per_tenant=10)
    before = world.read(rest, prefix)
    for what, path, change in plants(rest, prefix, before):
        with group.case(f"{name}: {what}"):
            change()
            after = world.read(rest, prefix)
            found = world.differences(before, after)
            before = after
            expect(found, f"{what} was not found")
            wrong = [line for line in found if not line.startswith(path)]
            expect(not wrong, f"{what} was found elsewhere than at {path}: {wrong}")
    fixture.wipe(rest, prefix)


def plants(rest, prefix, before):
    """What, where it must be found, and the change."""
    everything, named, tenants, person = (f"{prefix}{word}" for word in ("Everything", "Named", "Tenants", "Person"))

    def put(name, id, tenant=None, drop=(), **more):
        """Writes one object anew, changed."""
        one = rest.object(name, id, tenant)
        body = {key: one[key] for key in ("properties", "vector", "vectors") if key in one} | more
        for key in drop:
            del body[key]
        rest.put([{"class": name, "id": id, **body} | ({"tenant": tenant} if tenant else {})])

    def property_of(name, holds, change, column):
        """A change of one property, of the first object that has a fitting value."""
        id = next(id for id, one in sorted(before.objects[name, None].items()) if column in one.properties and holds(one.properties[column]))
        path = f"objects/{name}/-/{id}/properties/{column}"

        def act():
            properties = rest.object(name, id)["properties"]
            value = change(properties[column])
            properties = {**properties, column: value} if value is not None else {key: one for key, one in properties.items() if key != column}
            put(name, id, properties=properties)

        return path, act

    ids = sorted(id for id, one in before.objects[everything, None].items() if one.vector)

    def nudged():
        """The next float: one bit of one byte."""
        vector = rest.object(everything, ids[0])["vector"]
        bits = struct.unpack("<I", struct.pack("<f", vector[3]))[0] ^ 1
        vector[3] = struct.unpack("<f", struct.pack("<I", bits))[0]
        put(everything, ids[0], vector=vector)

    at = f"objects/{everything}/-"
    yield "a bit of a vector", f"{at}/{ids[0]}/vector", nudged
    yield "a vector that is gone", f"{at}/{ids[1]}/vector", lambda: put(everything, ids[1], drop=["vector"])
    yield "an object that is gone", f"{at}/{ids[2]}", lambda: rest.call("DELETE", f"/objects/{everything}/{ids[2]}")
    yield "an object more", f"{at}/{counter(2**100)}", lambda: rest.put([{"class": everything, "id": counter(2**100), "properties": {}}])
    for what, holds, change, column in [
        ("an empty text that is gone", lambda value: value == "", lambda _: None, "text"),
        ("a letter", lambda value: len(value) > 3, lambda value: value[:-1] + "x", "text"),
        ("another normal form", lambda value: "e\u0301" in value, lambda value: value.replace("e\u0301", "\u00e9"), "text"),
        ("an empty list that is gone", lambda value: value == [], lambda _: None, "ints"),
        ("a list of one that is two", lambda value: len(value) == 1, lambda value: value * 2, "texts"),
        ("the order of a list", lambda value: len(value) > 2 and value[0] != value[1], lambda value: [value[1], value[0], *value[2:]], "numbers"),
        ("the sign of zero", lambda value: value == 0 and str(value) == "-0.0", lambda _: 0.0, "number"),
        ("the last bit of a number", lambda value: isinstance(value, float) and 0 < value < 1e-300, lambda value: value * 2, "number"),
        ("an integer by one", lambda value: value == 2**53, lambda value: value - 1, "int"),
        ("a nanosecond", lambda value: value.endswith("123456789Z"), lambda value: value.replace("789Z", "788Z"), "day"),
        ("an offset", lambda value: value == "2025-01-02T03:04:05+02:00", lambda _: "2025-01-02T01:04:05Z", "day"),
        ("false for true", lambda value: value is True, lambda _: False, "flag"),
        ("a byte of a blob", lambda value: value == "AP/+", lambda _: "AP/9", "blob"),
        ("a place", lambda value: value["longitude"] == 180, lambda value: {"latitude": -90, "longitude": 179.9999}, "geo"),
        ("a phone", lambda value: value["input"] == "12", lambda value: {"input": "13", "defaultCountry": "de"}, "phone"),
        ("a null inside of an object that is gone", lambda value: "text" in value and value["text"] is None, lambda value: {key: one for key, one in value.items() if key != "text"}, "nest"),
        ("an empty object that is gone", lambda value: value == {}, lambda _: None, "nest"),
        ("one of two empty objects", lambda value: value == [{}, {}], lambda _: [{}], "nests"),
    ]:
        if what == "the sign of zero" and rest.version() < (1, 39):
            continue  # an object that is equal to what is there is not written, and -0 is equal to 0
        path, act = property_of(everything, holds, change, column)
        yield what, path, act

    for_named = sorted(id for id, one in before.objects[named, None].items() if len(one.vectors) > 1)
    if rest.version() >= MULTI_VECTORS:
        many = next(id for id in for_named if len(before.objects[named, None][id].vectors.get("colbert", ())) > 1)
        vectors = lambda change: put(named, many, vectors=change(rest.object(named, many)["vectors"]))  # noqa: E731
        yield "the order of rows of a vector", f"objects/{named}/-/{many}/vectors/colbert", lambda: vectors(lambda one: one | {"colbert": one["colbert"][::-1]})
        yield "a row of a vector that is gone", f"objects/{named}/-/{many}/vectors/colbert", lambda: vectors(lambda one: one | {"colbert": one["colbert"][1:]})
    first = for_named[0]
    yield "a named vector that is gone", f"objects/{named}/-/{first}/vectors/title", lambda: put(
        named, first, vectors={key: value for key, value in rest.object(named, first)["vectors"].items() if key != "title"})

    referring = next(id for id, one in sorted(before.objects[person, None].items()) if one.references.get("knows"))
    here, path = f"{beacon(person, referring)}/knows", f"objects/{person}/-/{referring}/references/knows"
    known = before.objects[person, None][referring].references["knows"][0]
    yield "a doubled reference", path, lambda: rest.refer([{"from": here, "to": f"weaviate://localhost/{known}"}])
    yield "a reference to nothing", path, lambda: rest.refer([{"from": here, "to": beacon(person, counter(2**99))}])
    yield "no references", f"objects/{person}/-/{referring}", lambda: put(person, referring, properties={"name": "x"})

    hot = next(tenant for tenant, status in sorted(before.tenants[tenants].items()) if status == "ACTIVE")
    cold = next(tenant for tenant, status in sorted(before.tenants[tenants].items()) if status != "ACTIVE")
    yield "a tenant put to sleep", f"tenants/{tenants}/{hot}", lambda: rest.set_tenants(tenants, "COLD", [hot])
    yield "a tenant woken up", f"tenants/{tenants}/{cold}", lambda: rest.set_tenants(tenants, "HOT", [cold])
    # Its status is a difference, and so is that it has objects.
    yield "an object of one tenant more", f"objects/{tenants}/{cold}/{counter(2**98)}", lambda: rest.put([{"class": tenants, "tenant": cold, "id": counter(2**98), "properties": {}}])
    yield "an object of a sleeping tenant that is gone", f"objects/{tenants}/{hot}/", lambda: asleep(rest, tenants, hot)

    for name, key, change in [
        ("Options", "description", lambda one: one | {"description": "another"}), ("Options", "invertedIndexConfig", lambda one: deep(one, ["invertedIndexConfig", "bm25", "b"], 0.31)),
        ("Options", "invertedIndexConfig", lambda one: deep(one, ["invertedIndexConfig", "stopwords", "additions"], ["foo"])),
        ("Options", "vectorIndexConfig", lambda one: deep(one, ["vectorIndexConfig", "ef"], 78)),
        ("Named", "vectorConfig", lambda one: deep(one, ["vectorConfig", "title", "vectorIndexConfig", "ef"], 65)),
        ("Automatic", "multiTenancyConfig", lambda one: deep(one, ["multiTenancyConfig", "autoTenantActivation"], False)),
    ]:
        name = f"{prefix}{name}"
        yield f"another {key}", f"classes/{name}/{key}", lambda name=name, change=change: rest.call("PUT", f"/schema/{name}", change(rest.get(f"/schema/{name}")))
    yield "a property more", f"classes/{prefix}Empty/properties/late", lambda: rest.call("POST", f"/schema/{prefix}Empty/properties", fixture.prop("late", "int"))
    yield "a class more", (f"classes/{prefix}More", f"objects/{prefix}More"), lambda: rest.create({"class": f"{prefix}More"})
    yield "a class that is gone", (f"classes/{prefix}Bare", f"objects/{prefix}Bare"), lambda: rest.drop(f"{prefix}Bare")
    if rest.version() >= ALIASES:
        yield "an alias of another class", f"aliases/{prefix}Alias", lambda: rest.call("PUT", f"/aliases/{prefix}Alias", {"class": named})
        yield "an alias that is gone", f"aliases/{prefix}AliasTwo", lambda: rest.call("DELETE", f"/aliases/{prefix}AliasTwo")
    if rest.version() >= ROLES and rest.key:
        low = prefix.lower()
        right = {"action": "read_tenants", "tenants": {"collection": tenants, "tenant": "t*"}}
        yield "a role with a right less", f"roles/{low}tenant", lambda: rest.call("POST", f"/authz/roles/{low}tenant/remove-permissions", {"permissions": [right]})
        yield "a user without a role", f"users/{low}ann", lambda: rest.call("POST", f"/authz/users/{low}ann/revoke", {"roles": [f"{low}reader"], "userType": "db"})
        yield "a user who is gone", f"users/{low}bob", lambda: rest.call("DELETE", f"/users/db/{low}bob")


def asleep(rest, name, tenant):
    """Deletes an object of a tenant that sleeps, and lets it sleep on."""
    rest.set_tenants(name, "HOT", [tenant])
    id = next(rest.objects(name, tenant))["id"]
    rest.call("DELETE", f"/objects/{name}/{id}?tenant={tenant}")
    rest.set_tenants(name, "COLD", [tenant])


def deep(value, path, leaf):
    """A copy with one leaf changed."""
    return leaf if not path else {**value, path[0]: deep(value[path[0]], path[1:], leaf)}


# ---- rows of exports


def as_rows(found):
    """The rows that an export of this world should have."""
    datasets = {name: [] for name in found.classes}
    for (name, tenant), objects in found.objects.items():
        definition, columns = found.classes[name], rows.Columns(found.classes[name])
        for id, one in objects.items():
            row = {"id": id, columns.created: one.created, columns.updated: one.updated} | ({} if tenant is None else {columns.tenant: tenant})
            for key, value in one.properties.items():
                kind = definition["properties"][key]["dataType"][0]
                row[key] = cell(kind, value)
                if kind == "date" and not rows.plain(value):
                    row[f"_restow_text_{key}"] = value
            row |= {key: world.json.dumps([{"beacon": f"weaviate://localhost/{one}"} for one in targets]) for key, targets in one.references.items()}
            vectors = {columns.named(key): value for key, value in one.vectors.items()} | ({} if one.vector is None else {columns.vector: one.vector})
            datasets[name].append({key: value for key, value in (row | {key: world.unpacked(value) for key, value in vectors.items()}).items() if value is not None})
    return datasets


def cell(kind, value):
    if value is None:
        return None
    if kind in rows.JSON_TYPES:
        return world.json.dumps(value)
    if kind == "date":
        return rows.micros(value)
    if kind == "blob":
        return rows.base64.b64decode(value)
    return float(value) if kind == "number" else [float(one) for one in value] if kind == "number[]" else value


def planted_in_rows(suite, group, server, name):
    """The comparison of exports finds nothing where nothing is wrong, and each of many changes of one cell."""
    base = suite.base(server)
    good = as_rows(base.world)
    with group.case(f"{name}: as it should be"):
        none(rows.differences(base.world, good), "an export as it should be is found wrong")
    rng = group.random(name)
    changes = 0
    with group.case(f"{name}: each cell counts"):
        for dataset in filter(good.get, base.names):
            part, those = base.world.of([dataset]), good[dataset]
            for _ in range(25):
                number = rng.randrange(len(those))
                column = rng.choice(sorted(those[number]))
                bad = copies.copy(those[number])
                del bad[column]
                if rng.random() < 0.5 and column != "id":
                    bad[column] = spoiled(those[number][column])
                found = rows.differences(part, {dataset: [*those[:number], bad, *those[number + 1 :]]})
                expect(found, f"{dataset}: a wrong {column} was not found")
                strangers = [line for line in found if those[number]["id"] not in line and column not in ("id", "_tenant")]
                expect(not strangers, f"{dataset}: a wrong {column} of {those[number]['id']} was found elsewhere: {strangers[:3]}")
                changes += 1
            expect(rows.differences(part, {dataset: those[1:]}), f"{dataset}: a row less was not found")
            expect(rows.differences(part, {dataset: [*those, those[0]]}), f"{dataset}: a doubled row was not found")
        group.note("changes of one cell of an export that were found", changes)


def spoiled(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return -value if value == 0 else value * 1.5 if abs(value) < 1e308 else value / 2
    if isinstance(value, bytes):
        return value + b"x"
    if isinstance(value, list):
        return [*value, value[0] if value else "x"]
    try:
        found = world.json.loads(value)
    except ValueError:
        return f"{value}x"
    return world.json.dumps([*found, *found]) if isinstance(found, list) and found else world.json.dumps({"other": found}) if isinstance(found, dict) else f"{value}x"


def plain(suite, group, server, name):
    """The plain dataset comes back as it was put, and every predicate is true of some row and false of some."""
    database, rng = suite.database, group.random(name)
    made = simple.rows(rng, 200)
    with group.case(f"{name}: rows"):
        database.wipe(server, "Plain")
        database.make(server, "Plain")
        database.put(server, "Plain", made)
        wrong = simple.difference(made, database.rows(server, "Plain"))
        expect(wrong is None, f"the plain dataset: {wrong}")
        database.delete(server, "Plain", sorted(made)[:3])
        expect(len(database.rows(server, "Plain")) == 197, "rows were not deleted")
        database.wipe(server, "Plain")
    with group.case(f"{name}: predicates"):
        useful = 0
        for _ in range(200):
            sql, holds = simple.predicate(rng)
            results = [holds(row) for row in made.values()]
            expect(set(results) <= {True, False, None}, f"{sql} is {set(results)}")
            useful += 0 < results.count(True) < len(results)
        expect(useful > 100, f"only {useful} of 200 predicates choose")
