"""Everything that a server holds, read past restow: the schema, objects and references over plain REST, ids and vectors once more with the
official client over gRPC. And what differs between two of them."""

import copy
import fnmatch
import itertools
import json
import struct

from .fixture import ALIASES, BUILT_IN, ROLES, refers
from .rest import Refused

# Names of one status in old and new versions.
STATUS = {"HOT": "ACTIVE", "COLD": "INACTIVE", "FROZEN": "OFFLOADED", "FREEZING": "OFFLOADING", "UNFREEZING": "ONLOADING"}
# Of a class: counted by the server, or kept for itself, or gone in later versions (weaviate.md, section 1).
READ_ONLY = {"shardingConfig": {"actualCount", "actualVirtualCount"}, "replicationConfig": {"asyncEnabled"}}
OF_PROPERTIES = {"searchableBlockmax", "bucketGeneration"}
SHOWN = 160


class Object:
    """One object: properties as REST has them, less the references; vectors as 32-bit floats; references as a sorted list a property."""

    __slots__ = ("properties", "vector", "vectors", "references", "created", "updated")

    def __init__(self, found, references=()):
        self.properties = dict(found.get("properties") or {})
        self.references = {name: sorted(target(one["beacon"]) for one in self.properties.pop(name)) for name in references if name in self.properties}
        self.vector = packed(found["vector"]) if found.get("vector") else None
        self.vectors = {name: packed(value) for name, value in (found.get("vectors") or {}).items()}
        self.created, self.updated = found["creationTimeUnix"], found["lastUpdateTimeUnix"]


class World:
    """What one server holds, or those of its classes that were asked for."""

    def __init__(self):
        self.classes, self.tenants, self.objects, self.aliases, self.roles, self.users = {}, {}, {}, {}, {}, {}

    def count(self):
        return sum(map(len, self.objects.values()))

    def of(self, names):
        """The part of these classes, without aliases, roles and users."""
        part = World()
        part.classes = {name: self.classes[name] for name in names}
        part.tenants = {name: self.tenants[name] for name in names if name in self.tenants}
        part.objects = {key: found for key, found in self.objects.items() if key[0] in names}
        return part


def target(beacon):
    """`Class/id` of a beacon; the class is missing in very old ones."""
    return beacon.split("/", 3)[3]


def packed(vector):
    """A vector as its bytes; one of many rows as a list of them."""
    if vector and isinstance(vector[0], list):
        return [packed(row) for row in vector]
    return struct.pack(f"<{len(vector)}f", *vector)


def unpacked(vector):
    """The numbers of a vector again."""
    if isinstance(vector, list):
        return [unpacked(row) for row in vector]
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


# ---- reading


def read(rest, prefix="", names=None, client=None):
    """Reads classes (all with the prefix, or those named), and all else whose name has the prefix. Tenants that sleep are woken for it, and
    put to sleep again. `client` makes an official client, for vectors that JSON cannot hold."""
    world, version = World(), rest.version()
    for name, definition in sorted(rest.classes().items()):
        if name in names if names is not None else name.startswith(prefix):
            world.classes[name] = canonical(definition)
            if (definition.get("multiTenancyConfig") or {}).get("enabled"):
                world.tenants[name] = {tenant: STATUS.get(status, status) for tenant, status in rest.tenants(name).items()}
    for name, definition in world.classes.items():
        references = [one["name"] for one in definition["properties"].values() if refers(one)]
        page = 4 if any(one["dataType"] == ["blob"] for one in definition["properties"].values()) else 500
        if name not in world.tenants:
            world.objects[name, None] = objects_of(rest, name, None, page, references, client)
            continue
        cold = [tenant for tenant, status in world.tenants[name].items() if status == "INACTIVE"]
        rest.set_tenants(name, "HOT", cold)
        try:
            for tenant in world.tenants[name]:
                world.objects[name, tenant] = objects_of(rest, name, tenant, page, references, client)
        finally:
            rest.set_tenants(name, "COLD", cold)
    if names is not None:
        return world
    if version >= ALIASES:
        world.aliases = {one["alias"]: one["class"] for one in rest.get("/aliases").get("aliases") or [] if one["alias"].startswith(prefix)}
    if version >= ROLES and rest.key:
        low = prefix.lower()
        world.roles = {one["name"]: sorted(json.dumps(right, sort_keys=True) for right in one["permissions"] or [])
                       for one in rest.get("/authz/roles") if one["name"].startswith(low) and one["name"] not in BUILT_IN}
        world.users = {one["userId"]: {"active": one["active"], "roles": sorted(one["roles"] or [])}
                       for one in rest.get("/users/db") if one["dbUserType"] == "db_user" and one["userId"].startswith(low)}
    return world


def objects_of(rest, name, tenant, page, references, client):
    """The objects of a class or tenant by their ids."""
    try:
        return {one["id"]: Object(one, references) for one in rest.objects(name, tenant, page=page)}
    except Refused as error:
        if error.status != 200 or client is None:
            raise
    # A NaN or an infinity in a vector: REST has the rest of the objects, and gRPC the vectors.
    found = {one["id"]: Object(one, references) for one in rest.objects(name, tenant, vectors=False, page=page)}
    with client() as connected:
        collection = connected.collections.use(name)
        for one in (collection if tenant is None else collection.with_tenant(tenant)).iterator(include_vector=True, return_properties=[]):
            vectors = {key: packed(value) for key, value in one.vector.items() if value}
            found[str(one.uuid)].vector = vectors.pop("default", None)
            found[str(one.uuid)].vectors = vectors
    return found


def canonical(definition):
    """A class as it is compared: without what is read-only, properties by name."""
    found = {key: {name: value for name, value in part.items() if name not in READ_ONLY[key]} if key in READ_ONLY and part else part for key, part in definition.items()}
    found["properties"] = by_name(definition.get("properties"))
    words = (found.get("invertedIndexConfig") or {}).get("stopwords")
    if words:
        found["invertedIndexConfig"] = found["invertedIndexConfig"] | {"stopwords": {key: value or [] if key != "preset" else value for key, value in words.items()}}
    return found


def by_name(properties):
    """Properties are an unordered set: those that refer are added later than the others."""
    found = {}
    for one in properties or []:
        one = {key: value for key, value in one.items() if key not in OF_PROPERTIES}
        if "nestedProperties" in one:
            one["nestedProperties"] = by_name(one["nestedProperties"])
        found[one["name"]] = one | {"dataType": sorted(one["dataType"])}
    return found


def cross_check(world, client):
    """Whether the official client, over gRPC, sees the same ids and vectors. Tenants that sleep are left out. Gives what differs."""
    problems = []
    for (name, tenant), objects in world.objects.items():
        if tenant is not None and world.tenants[name][tenant] != "ACTIVE":
            continue
        collection = client.collections.use(name)
        collection = collection if tenant is None else collection.with_tenant(tenant)
        seen = {}
        for one in collection.iterator(include_vector=True, return_properties=[], cache_size=200):
            seen[str(one.uuid)] = {key: packed(value) for key, value in one.vector.items() if value}
        for id in sorted(set(seen) ^ set(objects)):
            problems.append(f"{name}/{tenant}/{id}: only by {'gRPC' if id in seen else 'REST'}")
        for id in set(seen) & set(objects):
            unnamed = {} if objects[id].vector is None else {"default": objects[id].vector}
            # Of an object with both kinds the client shows only one of them.
            if seen[id] not in ([unnamed, objects[id].vectors] if unnamed and objects[id].vectors else [objects[id].vectors | unnamed]):
                problems.append(f"{name}/{tenant}/{id}: vectors differ between REST and gRPC")
        counted = collection.aggregate.over_all(total_count=True).total_count
        if counted != len(objects):
            problems.append(f"{name}/{tenant}: {len(objects)} objects were read, and {counted} counted")
    return problems


# ---- comparing


def differences(expected, actual, *, rename=None, ignore=(), across=False, limit=20):
    """What differs, as `path: what`, at most `limit` lines and one that counts the rest. `rename` maps classes as expected to what they are
    called now, in types and references too. `ignore` has patterns of paths. `across` versions, options that only one of them knows are
    left out."""
    found = (f"{path}: {what}" for path, what in pairs(expected, actual, rename or {}, across) if not any(fnmatch.fnmatchcase(path, one) for one in ignore))
    shown = list(itertools.islice(found, limit))
    rest = sum(1 for _ in itertools.islice(found, 100_000))
    return shown + ([f"and {rest} more"] if rest else [])


def pairs(expected, actual, rename, across):
    """Path and difference, one by one."""
    new = lambda name: rename.get(name, name)  # noqa: E731
    classes = {new(name): renamed(definition, new) for name, definition in expected.classes.items()}
    yield from unlike("classes", classes, actual.classes, across)
    yield from unlike("tenants", {new(name): found for name, found in expected.tenants.items()}, actual.tenants)
    objects = {(new(name), tenant): found for (name, tenant), found in expected.objects.items()}
    for key in sorted(set(objects) | set(actual.objects), key=str):
        path = f"objects/{key[0]}/{'-' if key[1] is None else key[1]}"
        mine, other = objects.get(key), actual.objects.get(key)
        if mine is None or other is None:
            yield path, f"{len(mine if other is None else other)} objects, {'missing' if other is None else 'not expected'}"
            continue
        for id in sorted(set(mine) | set(other)):
            if id not in other or id not in mine:
                yield f"{path}/{id}", "missing" if id not in other else "not expected"
            else:
                yield from unlike_objects(f"{path}/{id}", mine[id], other[id], new)
    yield from unlike("aliases", {alias: new(name) for alias, name in expected.aliases.items()}, actual.aliases)
    yield from unlike("roles", expected.roles, actual.roles)
    yield from unlike("users", expected.users, actual.users)


def restored(backup, there, rename, rule):
    """The world that a restore makes of what is there, which has the new names already: see `connector.py`."""
    mode, conflicts = rule
    new = lambda name: rename.get(name, name)  # noqa: E731
    found = World()
    found.classes = {new(name): renamed(definition, new) for name, definition in backup.classes.items()}
    found.tenants = {new(name): tenants for name, tenants in backup.tenants.items()}
    for (name, tenant), objects in backup.objects.items():
        mine = {id: moved(one, new) for id, one in objects.items()}
        other = there.objects[new(name), tenant] if there and mode == "append" else {}
        if conflicts == "merge":
            mine = {id: merged(other[id], one) if id in other else one for id, one in mine.items()}
        found.objects[new(name), tenant] = {**mine, **other} if conflicts == "skip" else {**other, **mine}
    return found


def moved(one, new):
    """An object whose references name classes as they are called now."""
    found = copy.copy(one)
    found.references = {name: sorted("/".join([*map(new, to.split("/")[:-1]), to.split("/")[-1]]) for to in targets) for name, targets in one.references.items()}
    return found


def merged(there, one):
    """What the new one has is replaced, the rest stays."""
    found = copy.copy(one)
    found.properties, found.references = {**there.properties, **one.properties}, {**there.references, **one.references}
    found.vector, found.vectors = there.vector if one.vector is None else one.vector, {**there.vectors, **one.vectors}
    return found


def renamed(definition, new):
    """A class under its new name, and with the new names of the classes that it refers to."""
    properties = {name: one | {"dataType": sorted(map(new, one["dataType"]))} if refers(one) else one for name, one in definition["properties"].items()}
    return definition | {"class": new(definition["class"]), "properties": properties}


def unlike_objects(path, mine, other, new):
    yield from unlike(f"{path}/properties", mine.properties, other.properties)
    if mine.vector != other.vector:
        yield f"{path}/vector", of_vectors(mine.vector, other.vector)
    for name in sorted(set(mine.vectors) | set(other.vectors)):
        if mine.vectors.get(name) != other.vectors.get(name):
            yield f"{path}/vectors/{name}", of_vectors(mine.vectors.get(name), other.vectors.get(name))
    for name in sorted(set(mine.references) | set(other.references)):
        wanted = sorted("/".join([*map(new, one.split("/")[:-1]), one.split("/")[-1]]) for one in mine.references.get(name, []))
        if wanted != other.references.get(name, []):
            yield f"{path}/references/{name}", f"{shown(wanted)} is now {shown(other.references.get(name))}"


def of_vectors(mine, other):
    if mine is None or other is None:
        return f"{'none' if mine is None else 'a vector'} is now {'none' if other is None else 'a vector'}"
    if len(mine) != len(other) or isinstance(mine, list) != isinstance(other, list):
        return f"another shape: {len(mine)} is now {len(other)}"
    place = next(number for number, (one, two) in enumerate(zip(mine, other)) if one != two)
    return f"differs at {'row' if isinstance(mine, list) else 'byte'} {place}"


def unlike(path, mine, other, common=False):
    """What differs between two JSON values; with `common`, below the keys that both have."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted(set(mine) | set(other)):
            if key in mine and key in other:
                yield from unlike(f"{path}/{key}", mine[key], other[key], common)
            elif not common or path.count("/") < 1 or path.endswith("/properties"):
                yield f"{path}/{key}", f"{shown(mine[key])} is missing" if key in mine else f"{shown(other[key])} was not expected"
    elif isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for number, (one, two) in enumerate(zip(mine, other)):
            yield from unlike(f"{path}/{number}", one, two, common)
    elif not same(mine, other):
        yield path, f"{shown(mine)} is now {shown(other)}"


def same(mine, other):
    """Equal, and not only in the eyes of Python: true is not 1, and -0.0 is not 0."""
    if isinstance(mine, bool) or isinstance(other, bool):
        return mine is other
    if isinstance(mine, (int, float)) and isinstance(other, (int, float)):
        return mine == other and (mine != 0 or struct.pack("<d", mine) == struct.pack("<d", other))
    return type(mine) is type(other) and mine == other


def shown(value):
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
