"""Rows of an export, compared with a world: the columns that restow documents, cell by cell, exactly."""

import base64
import json
import re

from .world import packed, same, shown, target

DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$")
JSON_TYPES = {"geoCoordinates", "phoneNumber", "object", "object[]"}


def differences(world, datasets, rename=None, times=True):
    """What differs between a world and rows ({dataset: [row, ..]}, times as counts of their unit). One line each."""
    found, rename = [], rename or {}
    names = {rename.get(name, name): name for name in world.classes}
    found += [f"dataset {name}: {'missing' if name in names else 'not expected'}" for name in sorted(set(names) ^ set(datasets))]
    for dataset in sorted(set(names) & set(datasets)):
        name = names[dataset]
        definition, columns = world.classes[name], Columns(world.classes[name])
        expected = {(tenant, id): one for (owner, tenant), objects in world.objects.items() if owner == name for id, one in objects.items()}
        seen = {}
        for row in datasets[dataset]:
            key = row.get(columns.tenant) if name in world.tenants else None, row.get("id")
            if key in seen:
                found.append(f"{dataset}/{key}: twice")
            seen[key] = row
        found += [f"{dataset}/{key}: {'missing' if key in expected else 'not expected'}" for key in sorted(set(expected) ^ set(seen), key=str)]
        for key in sorted(set(expected) & set(seen), key=str):
            found += [f"{dataset}/{key}/{what}" for what in of_row(definition, columns, expected[key], seen[key], times)]
    return found


class Columns:
    """The names of restow's own columns: with underscores before them until no property is called so."""

    def __init__(self, definition):
        self.taken = set(definition["properties"])
        self.tenant, self.created, self.updated, self.vector = (self.free(name) for name in ("_tenant", "_creation_time", "_update_time", "_vector"))

    def free(self, name):
        while name in self.taken:
            name = f"_{name}"
        return name

    def named(self, vector):
        return self.free(f"_vector_{vector}")


def of_row(definition, columns, one, row, times):
    """What of one object is not in its row as it should be."""
    for name, property in definition["properties"].items():
        kind = property["dataType"][0]
        if kind[0].isupper():
            given = references(row.get(name))
            if given != one.references.get(name):
                yield f"{name}: {shown(one.references.get(name))} is {shown(given)}"
            continue
        # Absent and null are one: the server keeps no null but inside of objects.
        wanted, given = one.properties.get(name), row.get(name)
        if wanted is None or given is None:
            if wanted is not None or given is not None:
                yield f"{name}: {shown(wanted)} is {shown(given)}"
        elif kind == "date":
            text = row.get(f"_restow_text_{name}")
            if given != micros(wanted) or text not in (None, wanted) or text is None and not plain(wanted):
                yield f"{name}: {wanted} is {given} and {text}"
        elif not alike(kind, wanted, given):
            yield f"{name}: {shown(wanted)} is {shown(given)}"
    vectors = {columns.vector: one.vector} | {columns.named(name): value for name, value in one.vectors.items()}
    for column in definition.get("vectorConfig") or {}:
        vectors.setdefault(columns.named(column))
    for column, wanted in vectors.items():
        given = row.get(column)
        if (None if given is None else packed(given)) != wanted:
            yield f"{column}: another vector"
    if times and (row.get(columns.created), row.get(columns.updated)) != (one.created, one.updated):
        yield f"times: {one.created}, {one.updated} are {row.get(columns.created)}, {row.get(columns.updated)}"


def alike(kind, wanted, given):
    if kind in JSON_TYPES:
        return equal(wanted, json.loads(given, parse_int=lambda text: -0.0 if text == "-0" else int(text)))
    if kind == "blob":
        return base64.b64decode(wanted) == given
    if kind in ("number", "number[]"):
        return equal([float(one) for one in wanted], given) if kind == "number[]" else same(float(wanted), given)
    if kind == "date[]" and given and isinstance(given[0], int):
        return [micros(one) for one in wanted] == given
    return equal(wanted, given)


def equal(one, two):
    """The same JSON; -0.0 is not 0."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(equal, one, two))
    return same(one, two)


def references(cell):
    """`Class/id` of each reference of a cell, sorted."""
    if cell is None:
        return None
    found = json.loads(cell) if isinstance(cell, str) else cell
    return sorted(target(one["beacon"] if isinstance(one, dict) else one) for one in found)


def micros(text):
    """Microseconds since 1970 of a date, rounded down. Python's own dates begin with the year 1."""
    year, month, day, hour, minute, second, fraction, zone = DATE.match(text).groups()
    nanos = int((fraction or "").ljust(9, "0"))
    offset = 0 if zone == "Z" else (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 60 + int(zone[4:6]))
    seconds = (days(int(year), int(month), int(day)) * 24 + int(hour)) * 3600 + (int(minute) - offset) * 60 + int(second)
    return (seconds * 1_000_000_000 + nanos) // 1000


def days(year, month, day):
    """Days since 1970-01-01 of the Gregorian calendar, for any year."""
    year -= month <= 2
    era, of_era = year // 400, year % 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def plain(text):
    """Whether a moment in microseconds prints as this text. The server writes no zeros at the end of a fraction."""
    fraction, zone = DATE.match(text).group(7), DATE.match(text).group(8)
    return zone == "Z" and len(fraction or "") <= 6
