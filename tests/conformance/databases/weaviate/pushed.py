"""Filters that save reading: on ids and tenants always, on the inverted index where it is trusted. What is selected is what Python selects,
over values that the index keeps in an order of its own; and less is read, by restow's own figures and by those of a relay in between."""

import datetime
import time
import uuid

from suite import Relay, Vault, expect

from . import fixture

WORD = "Pushed"
TRUST = {"inverted_index": "trust"}
COUNTS_FILTERS = (1, 29)
TEXTS = ["ann", " ann", "Ann", "zoë", "", " ", "the", "o'neill", "日本", "100%", "a_b", "x" * 3000]
INTS = [0, 5, -5, 6, 1 << 53, -(1 << 53), (1 << 62), -(1 << 62)]
FLOATS = [0.0, -0.0, 0.5, -1.25, 1e300, -1e300, 5e-324]
DAYS = ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000000999Z", "2024-12-31T23:59:59.999999999Z", "2025-06-30T12:00:00+02:00", "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "2262-04-12T00:00:00Z", "1960-06-01T00:00:00.000001Z", "1677-01-01T00:00:00Z"]
KEYS = [str(uuid.UUID(int=number << 96 | 7)) for number in (1, 0xABCDEF01, 0xFFFFFFFF)]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def jobs(suite, group):
    for server in suite.servers:
        for job in (odd_values, by_time, tenants, by_id, less_is_read, refused):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: on_server(suite, group, server, name, job)


def on_server(suite, group, server, name, job):
    vault = Vault(suite, server, "pushed")
    suite.database.wipe(server, WORD)
    try:
        job(suite, group, server, name, vault)
    finally:
        suite.database.wipe(server, WORD)
    vault.remove()


def definition(name, **more):
    whole = {"tokenization": "field"}
    properties = [fixture.prop("name", "text", **whole), fixture.prop("words", "text"), fixture.prop("whole", "int"), fixture.prop("ranged", "int", indexRangeFilters=True),
                  fixture.prop("hidden", "int", indexFilterable=False), fixture.prop("ratio", "number"), fixture.prop("flag", "boolean"), fixture.prop("day", "date"),
                  fixture.prop("key", "uuid"), fixture.prop("tags", "text[]", **whole), fixture.prop("numbers", "int[]")]
    return {"class": name, "vectorizer": "none", "vectorIndexType": "flat", "properties": properties, "invertedIndexConfig": {"indexTimestamps": True, "indexNullState": True}} | more


def values(rng):
    """Properties of an object; some are absent."""
    found = {"name": rng.choice(TEXTS), "words": rng.choice(TEXTS), "whole": rng.choice(INTS), "ranged": rng.choice(INTS), "hidden": rng.choice(INTS), "ratio": rng.choice(FLOATS),
             "flag": rng.random() < 0.5, "day": rng.choice(DAYS), "key": rng.choice(KEYS), "tags": rng.sample(TEXTS, rng.randint(0, 3)), "numbers": rng.sample(INTS, rng.randint(0, 3))}
    return {name: value for name, value in found.items() if rng.random() < 0.85}


def objects(rng, name, count, **more):
    return [{"class": name, "id": str(uuid.UUID(int=rng.getrandbits(128))), "vector": [rng.random() for _ in range(8)], "properties": values(rng), **more} for _ in range(count)]


def micros(text):
    """A date as its column has it: cut to microseconds."""
    cut = datetime.datetime.fromisoformat(text)
    return (cut - EPOCH) // datetime.timedelta(microseconds=1)


def leaf(rng):
    """SQL, and what it is of an object's properties."""
    field = rng.choice(["name", "words", "whole", "ranged", "hidden", "ratio", "flag", "day", "key", "tags", "numbers"])
    if rng.random() < 0.1:
        return f"{field} IS NULL", lambda row: field not in row
    if field == "flag":
        return rng.choice([("flag", lambda row: row.get("flag")), ("flag = false", lambda row: not row["flag"] if "flag" in row else None)])
    if field in ("tags", "numbers"):
        value = rng.choice(TEXTS if field == "tags" else INTS)
        return f"array_has({field}, {literal(value)})", lambda row: value in row[field] if field in row else None
    values = {"name": TEXTS, "words": TEXTS, "ratio": FLOATS, "day": DAYS, "key": KEYS}.get(field, INTS)
    order = {"name": str.encode, "words": str.encode, "key": str.encode, "day": micros}.get(field, lambda value: value)
    # A literal of SQL has nanoseconds in 64 bits, which are too few for most of these.
    write = (lambda value: f"""arrow_cast('{value}', 'Timestamp(Microsecond, Some("UTC"))')""") if field == "day" else literal
    shown = [value for value in values if field != "day" or value[-4:-1] != "999"]
    if rng.random() < 0.2:
        low, high = rng.choice(shown), rng.choice(shown)
        return f"{field} BETWEEN {write(low)} AND {write(high)}", lambda row: order(low) <= order(row[field]) <= order(high) if field in row else None
    if rng.random() < 0.2 and field not in ("day", "ratio"):
        chosen = rng.sample(shown, 2)
        return f"{field} IN ({', '.join(map(write, chosen))})", lambda row: row[field] in chosen if field in row else None
    operator, value = rng.choice(["=", "=", "=", "<>", "<", "<=", ">", ">="]), rng.choice(shown)
    holds = {"=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}[operator]
    return f"{field} {operator} {write(value)}", lambda row: holds(order(row[field]), order(value)) if field in row else None


def literal(value):
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"CAST('{value!r}' AS DOUBLE)" if isinstance(value, float) else str(value)


def chosen(rng):
    """A predicate that few objects fulfil, mostly: else the index would not be asked."""
    sql, holds = predicate(rng)
    while rng.random() < 0.6:
        more, also = leaf(rng)
        sql, holds = f"({sql}) AND {more}", both(holds, also)
    return sql, holds


def both(one, two):
    return lambda row: one(row) is True and two(row) is True


def predicate(rng, depth=2):
    kind = rng.choice(["leaf", "and", "and", "or", "not"]) if depth else "leaf"
    if kind == "leaf":
        return leaf(rng)
    one, first = predicate(rng, depth - 1)
    if kind == "not":
        return f"NOT ({one})", lambda row: None if first(row) is None else not first(row)
    two, second = predicate(rng, depth - 1)
    absorbing = kind == "or"

    def holds(row):
        sides = (first(row), second(row))
        return absorbing if absorbing in sides else None if None in sides else not absorbing

    return f"({one}) {kind.upper()} ({two})", holds


def selected(vault, name, sql, **options):
    """Ids of an export of what a filter leaves, and the summary of its run."""
    found = vault.export_server([name], stages=[{"filter": sql}], **options)
    ids = [row["id"] for row in found.get(name, [])]
    expect(len(ids) == len(set(ids)), f"where {sql}: objects came twice", vault.ran)
    counts = vault.ran.summary()["counts"]
    expect(counts["scanned"] == counts["filtered"] + counts["written"] and counts["written"] == len(ids), f"where {sql}: the counts do not meet: {counts}", vault.ran)
    return set(ids), vault.ran.summary()


def same(found, expected, sql, ran):
    expect(found == expected, f"where {sql[:400]}: {len(found)} instead of {len(expected)}; missing {sorted(expected - found)[:3]}, too many {sorted(found - expected)[:3]}", ran)


def odd_values(suite, group, server, name, vault):
    """Random predicates over every type, with and without the index."""
    rng, dataset = group.random(name), f"{WORD}Odd"
    server.handle.create(definition(dataset))
    made = objects(rng, dataset, 500)
    server.handle.put(made)
    # Ids of the same objects again under another value: the index must have forgotten the former one.
    for one in made[:100]:
        one["properties"] = values(rng)
    server.handle.put(made[:100])
    for number in range(250 if suite.options.full else 25):
        sql, holds = chosen(rng)
        expected = {one["id"] for one in made if holds(one["properties"]) is True}
        for options in ({}, TRUST):
            with group.case(f"{name}: {number} {'by the index' if options else ''}"):
                found, summary = selected(vault, dataset, sql, **options)
                same(found, expected, sql, vault.ran)
                read = summary["counts"]["scanned"]
                # A filter that is false for every row is told so by the planner, and needs no row.
                expect(options or read == len(made) or summary["pushed"] == ["Boolean(false)"], f"where {sql}: {summary['counts']}, and the index is not trusted", vault.ran)
                group.note("predicates over odd values", 1)
                group.note("predicates over odd values that the index answered", bool(options) and read < len(made))


def by_time(suite, group, server, name, vault):
    """What was written since."""
    rng, dataset = group.random(name), f"{WORD}Times"
    server.handle.create(definition(dataset))
    made = objects(rng, dataset, 300)
    server.handle.put(made)
    time.sleep(0.05)
    again = made[:20]
    for one in again:
        one["properties"] = values(rng) | {"hidden": 1}
    server.handle.put(again)
    times = {one["id"]: one["lastUpdateTimeUnix"] for one in server.handle.objects(dataset)}
    since = min(times[one["id"]] for one in again)
    moment = (EPOCH + datetime.timedelta(milliseconds=since)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cases = {f"_update_time >= TIMESTAMP '{moment}'": lambda at: at >= since, f"_update_time > TIMESTAMP '{moment}'": lambda at: at > since,
             f"_update_time < TIMESTAMP '{moment}'": lambda at: at < since, f"_update_time = TIMESTAMP '{moment}'": lambda at: at == since,
             f"_creation_time >= TIMESTAMP '{moment}' OR _update_time >= TIMESTAMP '{moment}'": lambda at: at >= since}
    for sql, holds in cases.items():
        for options in ({}, TRUST):
            with group.case(f"{name}: {sql} {'by the index' if options else ''}"):
                found, summary = selected(vault, dataset, sql, **options)
                same(found, {id for id, at in times.items() if holds(at)}, sql, vault.ran)
                if options and ">=" in sql and server.handle.version() >= COUNTS_FILTERS:
                    expect(summary["counts"]["scanned"] == 20, f"{summary['counts']['scanned']} rows were read of 20 that were written since", vault.ran)


def tenants(suite, group, server, name, vault):
    """Only the tenants that a filter leaves are read."""
    rng, dataset = group.random(name), f"{WORD}Tenants"
    names = ["a", "B", "b", "c-1", "c_1", "d"]
    server.handle.create(definition(dataset, multiTenancyConfig={"enabled": True}))
    server.handle.call("POST", f"/schema/{dataset}/tenants", [{"name": one} for one in names])
    # The same ids in every tenant.
    made = {tenant: objects(rng, dataset, 60, tenant=tenant) for tenant in names}
    for tenant in names:
        for one, first in zip(made[tenant], made["a"]):
            one["id"] = first["id"]
        server.handle.put(made[tenant])
    some = sorted(one["id"] for one in made["a"])
    cases = {"_tenant = 'b'": (lambda tenant, id: tenant == "b", 60), "_tenant IN ('B', 'd', 'none')": (lambda tenant, id: tenant in ("B", "d"), 120),
             "_tenant <> 'a'": (lambda tenant, id: tenant != "a", 300), "_tenant > 'c'": (lambda tenant, id: tenant > "c", 180), "_tenant = 'A'": (lambda tenant, id: False, 0),
             f"_tenant = 'd' AND id = '{some[3]}'": (lambda tenant, id: tenant == "d" and id == some[3], 1),
             f"_tenant = 'd' OR id = '{some[3]}'": (lambda tenant, id: tenant == "d" or id == some[3], 65),
             f"NOT (_tenant = 'd' OR id > '{some[3]}')": (lambda tenant, id: tenant != "d" and id <= some[3], 20), "_tenant IS NULL": (lambda tenant, id: False, 0)}
    for sql, (holds, scanned) in cases.items():
        with group.case(f"{name}: {sql}"):
            found = vault.export_server([dataset], stages=[{"filter": sql}])
            keys = {(row["_tenant"], row["id"]) for row in found.get(dataset, [])}
            same(keys, {(tenant, one["id"]) for tenant in names for one in made[tenant] if holds(tenant, one["id"])}, sql, vault.ran)
            counts = vault.ran.summary()["counts"]
            expect(counts["scanned"] == scanned, f"where {sql}: {counts}, and {scanned} rows are enough", vault.ran)
    with group.case(f"{name}: the plan"):
        file = vault.write("planned", suite.database.source([dataset]), {"files": {"path": "out"}}, [{"filter": "_tenant = 'b' AND whole = 5"}, {"codec": {"parquet": {}}}])
        ran = vault.place.run("plan", file).ends(0)
        expect('tenants "b" (1 of 6)' in ran.out, "the plan does not say which tenants are read", ran)
        expect("filter here" in ran.out and "whole = 5" in ran.out, "the plan does not say what is evaluated here", ran)
        if server.handle.version() >= COUNTS_FILTERS:
            file = vault.write("planned", suite.database.source([dataset], **TRUST), {"files": {"path": "out"}}, [{"filter": "_tenant = 'b' AND whole = 5"}, {"codec": {"parquet": {}}}])
            vault.place.run("plan", file).ends(0).says("inverted index, where it finds at most 9000 and a quarter of the objects: whole = 5")


def by_id(suite, group, server, name, vault):
    """Ids that are alone, in ranges, close together, absent, at both ends; of classes that are read by gRPC and by REST."""
    rng = group.random(name)
    for word, more in {"Grpc": {}, "Rest": {"properties": [fixture.prop("whole", "int"), fixture.prop("nest", "object", nestedProperties=[fixture.prop("inner", "text")])]}}.items():
        dataset = f"{WORD}{word}"
        server.handle.create(definition(dataset) | more)
        ids = [fixture.counter(number) for number in (0, 1, 2, 3, (1 << 128) - 1, (1 << 128) - 2)] + [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(600)]
        ids += [fixture.counter((0xA5 << 120) + number) for number in range(400)]
        server.handle.put([{"class": dataset, "id": id, "vector": [1.0, rng.random()], "properties": {"whole": number}} for number, id in enumerate(ids)])
        ordered = sorted(ids)
        low, high, absent = ordered[100], ordered[700], str(uuid.UUID(int=rng.getrandbits(128)))
        spread = [ordered[number] for number in range(0, len(ordered), 3)]
        cases = {f"id = '{ordered[0]}'": {ordered[0]}, f"id = '{ordered[-1]}'": {ordered[-1]}, f"id IN ('{low}', '{absent}', '{high.upper()}')": {low}, f"id = '{low.upper()}'": set() if low != low.upper() else {low},
                 f"id >= '{low}' AND id < '{high}'": set(ordered[100:700]), f"id BETWEEN '{low}' AND '{high}'": set(ordered[100:701]), f"id < '{ordered[3]}' OR id > '{ordered[-3]}'": set(ordered[:3] + ordered[-2:]),
                 f"id IN ({', '.join(map(repr, spread))})": set(spread), "id LIKE 'a5%'": {id for id in ids if id.startswith("a5")}, "id = 'nonsense'": set(), "id > 'zz'": set(), "id = NULL": set(),
                 f"id NOT IN ('{low}') AND id <= '{ordered[102]}'": set(ordered[:103]) - {low}}
        for sql, expected in cases.items():
            with group.case(f"{name}: {word}: {sql[:60]}"):
                found, summary = selected(vault, dataset, sql)
                same(found, expected, sql, vault.ran)
                expect(summary["counts"]["scanned"] == len(expected), f"where {sql[:200]}: {summary['counts']}, and {len(expected)} rows are enough", vault.ran)
        with group.case(f"{name}: {word}: --objects"):
            some = [ordered[0], ordered[77], ordered[-1]]
            found = vault.export_server([dataset], arguments=("--objects", ",".join(some)))
            same({row["id"] for row in found[dataset]}, set(some), "--objects", vault.ran)
            expect(vault.ran.summary()["counts"]["scanned"] == 3, f"{vault.ran.summary()['counts']} for 3 objects", vault.ran)


def less_is_read(suite, group, server, name, vault):
    """By a relay that counts what the server sends: 20,000 objects in several ranges, and few of them wanted."""
    rng, dataset = group.random(name), f"{WORD}Many"
    server.handle.create(definition(dataset))
    made = [{"class": dataset, "id": str(uuid.UUID(int=rng.getrandbits(128))), "vector": [rng.random() for _ in range(32)], "properties": {"whole": number, "name": f"n{number % 2000}"}} for number in range(20_000)]
    server.handle.put(made, most=2000)
    relays = [suite.opened(Relay(*address)) for address in server.addresses]
    # No hop but this one: the vault speaks to the relay.
    vault = Vault(suite, server.at([("127.0.0.1", relay.port) for relay in relays]), "less")

    def passed(sql, **options):
        before = sum(relay.passed for relay in relays)
        found, summary = selected(vault, dataset, sql, **options)
        return found, summary["counts"]["scanned"], sum(relay.passed for relay in relays) - before

    ordered = sorted(one["id"] for one in made)
    with group.case(f"{name}: ids"):
        everything, scanned, bytes = passed("whole >= 0")
        expect(len(everything) == scanned == 20_000, f"{scanned} of 20000 rows were read", vault.ran)
        for sql, expected in {f"id = '{ordered[5000]}'": {ordered[5000]}, f"id BETWEEN '{ordered[400]}' AND '{ordered[600]}'": set(ordered[400:601]), "id = 'none'": set()}.items():
            found, scanned, some = passed(sql)
            same(found, expected, sql, vault.ran)
            expect(scanned == len(expected) and some < bytes / 10, f"where {sql}: {scanned} rows and {some} bytes, of {bytes} for all", vault.ran)
            group.note(f"{server.label}: bytes of the server for {len(expected)} of 20,000 objects by id", some)
        group.note(f"{server.label}: bytes of the server for 20,000 objects", bytes)
    with group.case(f"{name}: the index"):
        sql, expected = "name = 'n77' AND whole >= 0", {one["id"] for one in made if one["properties"]["name"] == "n77"}
        found, scanned, some = passed(sql, **TRUST)
        same(found, expected, sql, vault.ran)
        if server.handle.version() >= COUNTS_FILTERS:
            expect(scanned == len(expected) == 10 and some < bytes / 10, f"{scanned} rows and {some} bytes, of {bytes} for all", vault.ran)
            group.note(f"{server.label}: bytes of the server for 10 of 20,000 objects by the index", some)
        else:
            expect(scanned == 20_000, f"{scanned} rows", vault.ran)
    with group.case(f"{name}: the index finds too much"):
        found, scanned, _ = passed("whole >= 100", **TRUST)
        expect(len(found) == 19_900 and scanned == 20_000, f"{len(found)} rows, {scanned} scanned", vault.ran)
    vault.remove()


def refused(suite, group, server, name, vault):
    """A search that the server refuses is no reason to fail, and none to leave anything out."""
    dataset = f"{WORD}Stop"
    server.handle.create(definition(dataset))
    server.handle.put([{"class": dataset, "id": fixture.counter(number), "vector": [1.0], "properties": {"name": "the" if number < 3 else f"n{number}", "whole": number}} for number in range(1, 60)])
    for sql, expected in {"name = 'the'": {1, 2}, "name IN ('the', 'n7')": {1, 2, 7}}.items():
        with group.case(f"{name}: {sql}"):
            found, _ = selected(vault, dataset, sql, **TRUST)
            same(found, {fixture.counter(number) for number in expected}, sql, vault.ran)
