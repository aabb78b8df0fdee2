"""Rows of the plain dataset, that every database can hold, and predicates over them that Python and SQL agree about."""

import struct
import uuid

SIZE = 8
FIELDS = ["name", "number", "ratio", "flag", "day", "tags"]
NAMES = ["ann", "bob", "Ann", "zoë", "", "o'neill", "100%", "a_b", "日本"]
TAGS = ["red", "green", "blue"]


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def row(rng, number, whole=False):
    """A row without its id; what is absent is not in it, unless it shall be `whole`."""
    found = {"name": rng.choice(NAMES), "number": number, "ratio": rng.choice([0.5, -1.25, 1e9, rng.gauss(0, 1)]), "flag": rng.random() < 0.5,
             "day": f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:00:00Z", "tags": rng.sample(TAGS, rng.randint(1, 3))}
    kept = {name: value for name, value in found.items() if whole or name == "number" or rng.random() < 0.85}
    return kept | {"vector": [f32(rng.gauss(0, 1)) for _ in range(SIZE)]}


def rows(rng, count, first=0, whole=False):
    """So many rows by their ids, all random."""
    return {str(uuid.UUID(int=rng.getrandbits(128), version=4)): row(rng, first + number, whole) for number in range(count)}


def difference(expected, actual):
    """What differs between two sets of rows, in a line, or none."""
    missing, more = sorted(set(expected) - set(actual)), sorted(set(actual) - set(expected))
    if missing or more:
        return f"{len(missing)} of {len(expected)} rows are missing {missing[:3]}, {len(more)} were not expected {more[:3]}"
    wrong = [id for id in sorted(expected) if expected[id] != actual[id]]
    return f"{len(wrong)} of {len(expected)} rows differ; {wrong[0]}: {expected[wrong[0]]} is {actual[wrong[0]]}" if wrong else None


# ---- predicates: SQL, and what it is of a row: true, false, or none where SQL says null


def predicate(rng, depth=3, ids=()):
    """`ids` are some that predicates may name; the row must have its `id` then."""
    if depth and rng.random() < 0.6:
        kind = rng.choice(["and", "or", "not"])
        if kind == "not":
            sql, holds = predicate(rng, depth - 1, ids)
            return f"NOT ({sql})", lambda row: None if holds(row) is None else not holds(row)
        (one, first), (two, second) = predicate(rng, depth - 1, ids), predicate(rng, depth - 1, ids)
        absorbing = kind == "or"
        return f"({one}) {kind.upper()} ({two})", lambda row: three(absorbing, first(row), second(row))
    return leaf(rng, ids)


def three(absorbing, one, two):
    """AND (absorbing false) and OR (absorbing true) of SQL."""
    if one is absorbing or two is absorbing:
        return absorbing
    return None if one is None or two is None else not absorbing


def leaf(rng, ids=()):
    field = rng.choice(["name", "number", "ratio", "flag", "day", "tags"] + (["id"] if ids else []))
    kind = rng.choice(["null", "not null", "compare", "compare", "compare", "in"])
    if kind == "null":
        return f"{field} IS NULL", lambda row: field not in row
    if kind == "not null":
        return f"{field} IS NOT NULL", lambda row: field in row
    if field == "flag":
        return "flag", lambda row: row.get("flag")
    if field == "tags":
        tag = rng.choice(TAGS)
        return f"array_has(tags, '{tag}')", lambda row: tag in row["tags"] if "tags" in row else None
    draw = {"name": lambda: rng.choice(NAMES), "number": lambda: rng.randint(-5, 400), "ratio": lambda: rng.choice([0.5, -1.25, 0.0, 1e9]),
            "day": lambda: f"{rng.randint(1990, 2030)}-01-01T00:00:00Z", "id": lambda: spelled(rng, rng.choice(ids))}[field]
    if kind == "in" and field != "day":
        values = [draw() for _ in range(3)]
        return f"{field} IN ({', '.join(map(literal, values))})", lambda row: row[field] in values if field in row else None
    operator, value = rng.choice(["=", "<>", "<", "<=", ">", ">="]), draw()
    holds = {"=": lambda a: a == value, "<>": lambda a: a != value, "<": lambda a: a < value, "<=": lambda a: a <= value, ">": lambda a: a > value, ">=": lambda a: a >= value}[operator]
    key = (lambda text: text.encode()) if field in ("name", "id") else None
    if key and operator not in ("=", "<>"):
        return f"{field} {operator} {literal(value)}", lambda row: ordered(operator, key(row[field]), key(value)) if field in row else None
    return f"{field} {operator} {literal(value)}", lambda row: holds(row[field]) if field in row else None


def spelled(rng, id):
    """Mostly the id; else a text that is none: in capitals, cut off, empty, beyond all."""
    return rng.choice([id, id, id, id, id.upper(), id[: rng.randint(1, 30)], "", "zz", "日本"])


def ordered(operator, one, two):
    return {"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[operator]


def literal(value):
    if isinstance(value, str):
        text = "'" + value.replace("'", "''") + "'"
        return f"TIMESTAMP {text}" if value.endswith(":00Z") else text
    return repr(value)
