"""Copies a world with nothing but REST: a reference for what a restore should come to, and a test of the reader and the comparison."""

import json

from .fixture import Plan, put
from .rest import beacon
from .world import unpacked


def copy(world, rest, rename):
    """Writes the classes of a world to a server, under other names."""
    put(rest, [plan(world, name, rename) for name in world.classes])


def plan(world, name, rename):
    """A class of the world as the fixture would make it."""
    definition = world.classes[name]
    new = lambda old: rename.get(old, old)  # noqa: E731
    body = definition | {"class": new(name), "properties": [as_listed(one, new) for one in definition["properties"].values()]}
    if name in world.tenants:
        del body["shardingConfig"]  # nothing but zeros, and refused beside tenants
    phones = [one["name"] for one in definition["properties"].values() if one["dataType"] == ["phoneNumber"]]
    objects, references = [], []
    for (owner, tenant), found in world.objects.items():
        if owner != name:
            continue
        for id, one in found.items():
            whole = {"id": id, "properties": json.loads(json.dumps(one.properties))}
            for phone in phones:
                if phone in whole["properties"]:
                    whole["properties"][phone] = {key: value for key, value in whole["properties"][phone].items() if key in ("input", "defaultCountry")}
            if one.vector is not None:
                whole["vector"] = unpacked(one.vector)
            if one.vectors:
                whole["vectors"] = {key: unpacked(value) for key, value in one.vectors.items()}
            where = {} if tenant is None else {"tenant": tenant}
            objects.append(whole | where)
            for property, targets in one.references.items():
                for target in targets:
                    kind, other = target.split("/")
                    references.append({"from": f"{beacon(new(name), id)}/{property}", "to": beacon(new(kind), other)} | where)
    status = {tenant: "COLD" if status == "INACTIVE" else "HOT" for tenant, status in world.tenants.get(name, {}).items()}
    return Plan(body, tenants=status, objects=objects, references=references)


def as_listed(property, new):
    found = dict(property)
    if "nestedProperties" in found:
        found["nestedProperties"] = [as_listed(one, new) for one in found["nestedProperties"].values()]
    return found | {"dataType": [new(kind) for kind in property["dataType"]]}
