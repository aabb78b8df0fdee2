"""Fills a server with everything Weaviate can hold: the same for the same seed. What a version lacks is left out by version.

A class of the fixture is a function below that gives a [Plan]; `CLASSES` lists them. All names carry a prefix, so that several
fixtures can stand beside each other on one server."""

import base64
import random
import struct
import uuid

from .rest import beacon

# First versions, from `weaviate.md` section 0.
MULTI_VECTORS, MUVERA, RQ, ALIASES, ROLES, BLOB_HASH = (1, 29), (1, 31), (1, 32), (1, 32), (1, 30), (1, 37)
# Named vectors beside an unnamed one: refused by 1.27, taken by 1.39, not tried between.
BOTH_KINDS = (1, 31)
TENANTS = 50
# What a property of a class is called that names another class: its data type begins with an upper-case letter.
EDGE_TEXTS = [
    "", " ", "plain", "Zażółć gęślą jaźń", "日本語テキスト", "مرحبا بالعالم", "שלום עולם", "👩‍👩‍👧‍👦 👍🏽 🇳🇱", "e\u0301 is not \u00e9",
    "tab\tline\nreturn\r", "\u0001\u001f\u007f\u0085\u200b\u202e\ufeff", "\u2028\u2029", "quote\" back\\slash 'single' `tick`", "null", "NaN", "true",
    "-0", "1e308", "{\"json\": [1]}", "${env:HOME} $${x} %s {}", "<b>&amp;</b>", "\U0010ffff\ufffd", "a" * 4096, "word " * 400, "../../etc/passwd", ";--",
]
EDGE_INTS = [0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**53, -(2**53), 2**53 - 1]
EDGE_NUMBERS = [0.0, -0.0, 1.5, -1.5, 1e-308, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 1e15, 1e21, 1e22, 123456789.12345679, 2.5e-7, 1e-7]
EDGE_DATES = [
    "2025-01-02T03:04:05Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2025-01-02T03:04:05.1Z", "2025-01-02T03:04:05.123456Z",
    "2025-01-02T03:04:05.123456789Z", "2025-01-02T03:04:05.000000001Z", "2025-01-02T03:04:05+02:00", "2025-01-02T03:04:05.5-07:30", "2025-01-02T03:04:05+14:00",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1582-10-10T00:00:00Z", "2024-02-29T12:00:00Z", "0000-01-01T00:00:00Z",
]
EDGE_GEO = [(0, 0), (52.3676, 4.9041), (-90, 180), (90, -180), (1e-6, -1e-6), (-33.8688197, 151.2092955)]
EDGE_PHONES = [{"input": "020 1234567", "defaultCountry": "nl"}, {"input": "+491701234567"}, {"input": "12", "defaultCountry": "de"}]
# As 32-bit patterns: -0, the smallest, the largest, a third, and ordinary ones.
EDGE_FLOATS = [struct.unpack("<f", struct.pack("<I", bits))[0] for bits in (0x80000000, 1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3EAAAAAB, 0x3F800000)]


class Plan:
    """One class: its JSON, tenants with their status, objects, references {from, to, tenant}, and ids that are deleted again."""

    def __init__(self, definition, tenants=None, objects=(), references=(), doomed=()):
        self.definition, self.tenants, self.objects, self.references, self.doomed = definition, tenants or {}, list(objects), list(references), list(doomed)


class Maker:
    """What the functions of the classes draw from."""

    def __init__(self, seed, prefix, version, full, tenants=None, per_tenant=None):
        self.seed, self.prefix, self.version, self.full = seed, prefix, version, full
        self.tenant_count, self.per_tenant = tenants or TENANTS, per_tenant or (1000 if full else 40)
        self.rng = None

    def begin(self, word):
        """Random numbers of this class only: another class more does not change it."""
        self.rng = random.Random(f"{self.seed}/{word}")

    def name(self, word):
        return f"{self.prefix}{word}"

    def many(self, quick, full):
        return full if self.full else quick

    def vector(self, size):
        return [f32(self.rng.gauss(0, 1)) for _ in range(size)]

    def v4(self):
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def v7(self, number):
        stamp = 1_700_000_000_000 + number
        return str(uuid.UUID(int=stamp << 80 | 7 << 76 | self.rng.getrandbits(12) << 64 | 2 << 62 | self.rng.getrandbits(62)))

    def text(self):
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, 12)))

    def date(self):
        digits = self.rng.choice(["", ".5", ".123", ".123456", ".123456789"])
        zone = self.rng.choice(["Z", "Z", "Z", "+01:00", "-08:00"])
        part = self.rng.randint
        return f"{part(1900, 2100):04}-{part(1, 12):02}-{part(1, 28):02}T{part(0, 23):02}:{part(0, 59):02}:{part(0, 59):02}{digits}{zone}"

    def blob(self, size):
        return base64.b64encode(self.rng.randbytes(size)).decode()


WORDS = "river stone lantern copper field winter harbour seven cloud ember quiet morning glass paper thunder green ñandú größe 東京 🚀".split()


def f32(value):
    """The nearest 32-bit float: what the server keeps."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def counter(number):
    return str(uuid.UUID(int=number))


def hnsw(**more):
    return {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": more}


def flat(**more):
    return {"vectorizer": {"none": {}}, "vectorIndexType": "flat", "vectorIndexConfig": more}


def prop(name, kind, **more):
    return {"name": name, "dataType": [kind] if isinstance(kind, str) else kind, **more}


# ---- classes


NESTED = [
    prop("text", "text", tokenization="field"), prop("blob", "blob"), prop("date", "date"), prop("dates", "date[]"), prop("ints", "int[]"), prop("number", "number"),
    prop("inner", "object", nestedProperties=[
        prop("uuid", "uuid"), prop("texts", "text[]"), prop("flags", "boolean[]"),
        prop("innermost", "object[]", nestedProperties=[
            prop("blob", "blob"), prop("date", "date"), prop("numbers", "number[]"), prop("uuids", "uuid[]"), prop("int", "int"), prop("flag", "boolean"),
        ]),
    ]),
]
SCALARS = {"text": "text", "int": "int", "number": "number", "flag": "boolean", "day": "date", "uuid": "uuid"}


def everything(make):
    """Every type of property, with a vector of the old kind; edges first, then random rows."""
    kinds = dict(SCALARS)
    kinds |= {f"{name}s": f"{kind}[]" for name, kind in SCALARS.items()} | {"geo": "geoCoordinates", "phone": "phoneNumber", "blob": "blob"}
    properties = [prop(name, kind) for name, kind in kinds.items()]
    properties += [prop("nest", "object", nestedProperties=NESTED), prop("nests", "object[]", nestedProperties=NESTED)]
    rng, rows = make.rng, []
    edges = {"text": EDGE_TEXTS, "int": EDGE_INTS, "number": EDGE_NUMBERS, "flag": [True, False], "day": EDGE_DATES, "uuid": [make.v4(), counter(0), "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12]}
    for name, values in edges.items():
        rows += [{name: value} for value in values]
        rows += [{f"{name}s": values}, {f"{name}s": values[:1]}, {f"{name}s": []}, {f"{name}s": [values[0]] * 3}]
    rows += [{"geo": {"latitude": latitude, "longitude": longitude}} for latitude, longitude in EDGE_GEO]
    rows += [{"phone": dict(phone)} for phone in EDGE_PHONES]
    rows += [{"blob": base64.b64encode(data).decode()} for data in (b"\0", b"\0\xff\xfe", bytes(range(256)), rng.randbytes(100_000))]
    rows += [{}, {name: None for name in kinds}, {"nest": {}}, {"nest": None}, {"nests": []}, {"nests": [{}, {}]}]
    rows += [{"nest": {"text": None, "inner": {"uuid": None, "texts": [], "innermost": []}}}, {"nests": [{"text": None}, {"ints": []}]}]
    rows += [{"nest": {"inner": {"innermost": [{}, {"numbers": EDGE_NUMBERS, "uuids": []}]}, "dates": EDGE_DATES, "number": -0.0}}]
    rows += [{"nest": {"text": text}, "nests": [{"text": text}, {"date": EDGE_DATES[number % len(EDGE_DATES)]}]} for number, text in enumerate(EDGE_TEXTS)]
    for _ in range(make.many(200, 4000)):
        rows.append({name: value for name, value in random_row(make).items() if rng.random() < 0.8})
    objects = []
    for number, row in enumerate(rows):
        one = {"id": counter(number + 1) if number % 3 == 0 else make.v4(), "properties": row}
        if rng.random() < 0.85:
            one["vector"] = make.vector(16)
        objects.append(one)
    definition = {"class": make.name("Everything"), "description": "every type of property 🗃", "vectorizer": "none", "properties": properties,
                  "vectorIndexConfig": {"distance": "cosine"}, "invertedIndexConfig": {"indexNullState": True, "indexPropertyLength": True}}
    return Plan(definition, objects=objects)


def random_row(make):
    """A value for every property of `everything`."""
    rng = make.rng
    few = lambda draw: [draw() for _ in range(rng.randint(0, 4))]  # noqa: E731
    draws = {"text": make.text, "int": lambda: rng.randint(-(2**53), 2**53), "number": lambda: rng.gauss(0, 1) * 10 ** rng.randint(-9, 9),
             "flag": lambda: rng.random() < 0.5, "day": make.date, "uuid": make.v4}
    row = {name: draw() for name, draw in draws.items()} | {f"{name}s": few(draw) for name, draw in draws.items()}
    row["geo"] = {"latitude": rng.uniform(-90, 90), "longitude": rng.uniform(-180, 180)}
    row["phone"] = {"input": f"020 {rng.randint(1000000, 9999999)}", "defaultCountry": "nl"}
    row["blob"] = make.blob(rng.randint(1, 400))

    def nest():
        innermost = [{"blob": make.blob(9), "date": make.date(), "numbers": few(draws["number"]), "uuids": few(make.v4), "int": draws["int"](), "flag": True}
                     for _ in range(rng.randint(0, 2))]
        whole = {"text": make.text(), "blob": make.blob(30), "date": make.date(), "dates": few(make.date), "ints": few(draws["int"]), "number": draws["number"](),
                 "inner": {"uuid": make.v4(), "texts": few(make.text), "flags": few(draws["flag"]), "innermost": innermost}}
        return {name: value for name, value in whole.items() if rng.random() < 0.7}

    return row | {"nest": nest(), "nests": [nest() for _ in range(rng.randint(0, 3))]}


def named(make):
    """Named vectors, one of them of many rows; objects with all, with some, with none."""
    vectors = {"title": hnsw(distance="cosine"), "body": flat(distance="dot")}
    if make.version >= MULTI_VECTORS:
        vectors["colbert"] = hnsw(multivector={"enabled": True, "aggregation": "maxSim"})
    if make.version >= MUVERA:
        vectors["muvera"] = hnsw(multivector={"enabled": True, "muvera": {"enabled": True, "ksim": 3, "dprojections": 8, "repetitions": 5}})
    objects = []
    for number in range(make.many(120, 2000)):
        whole = {"title": make.vector(8), "body": [make.rng.choice(EDGE_FLOATS) for _ in range(5)] if number % 10 == 0 else make.vector(5)}
        for name in ("colbert", "muvera"):
            if name in vectors:
                whole[name] = [make.vector(6) for _ in range(make.rng.randint(1, 5))]
        kept = {0: [], 1: ["title"], 2: ["body"], 3: ["colbert", "muvera"]}.get(number % 8, list(whole))
        one = {"id": make.v4(), "properties": {"title": make.text(), "number": number}, "vectors": {name: whole[name] for name in kept if name in whole}}
        if not one["vectors"]:
            del one["vectors"]
        objects.append(one)
    return Plan({"class": make.name("Named"), "vectorConfig": vectors, "properties": [prop("title", "text"), prop("number", "int")]}, objects=objects)


def mixed(make):
    """An unnamed vector, and a named one that was added to it later: no such class can be made at once."""
    objects = []
    for number in range(40):
        one = {"id": make.v4(), "properties": {"number": number}}
        if number % 3:
            one["vector"] = make.vector(4)
        if number % 4 and make.version >= BOTH_KINDS:
            one["vectors"] = {"extra": make.vector(3)}
        objects.append(one)
    definition = {"class": make.name("Mixed"), "vectorizer": "none", "vectorIndexType": "hnsw", "properties": [prop("number", "int")]}
    if make.version >= BOTH_KINDS:
        definition["vectorConfig"] = {"extra": flat(distance="dot")}
    return Plan(definition, objects=objects)


def skipped(make):
    """Where the index is skipped nobody checks lengths: they differ, within one class."""
    objects = [{"id": make.v4(), "properties": {"number": number}, "vector": make.vector(1 + number % 5)} for number in range(40)]
    definition = {"class": make.name("Skipped"), "vectorizer": "none", "vectorIndexConfig": {"skip": True, "distance": "hamming"}, "properties": [prop("number", "int")]}
    return Plan(definition, objects=objects)


def quantised(make):
    """Every compression of vectors: what comes back is what was given, not what the index keeps."""
    vectors = {"pq": hnsw(pq={"enabled": True, "segments": 4, "centroids": 64, "trainingLimit": 100_000}), "bq": hnsw(bq={"enabled": True}),
               "sq": hnsw(sq={"enabled": True, "trainingLimit": 200, "rescoreLimit": 30}), "flatbq": flat(bq={"enabled": True, "rescoreLimit": 40, "cache": True}), "plain": flat()}
    if make.version >= RQ:
        vectors |= {"rq": hnsw(rq={"enabled": True, "bits": 8, "rescoreLimit": 25}), "rq1": hnsw(rq={"enabled": True, "bits": 1})}
    objects = [{"id": counter(number + 1), "properties": {"number": number}, "vectors": {name: make.vector(16) for name in vectors}} for number in range(make.many(300, 3000))]
    return Plan({"class": make.name("Quantised"), "vectorConfig": vectors, "properties": [prop("number", "int")]}, objects=objects)


def options(make):
    """Every option that is not the default one."""
    tokenizations = ["word", "lowercase", "whitespace", "field", "trigram"]
    properties = [prop(f"text_{kind}", "text", tokenization=kind, description=f"cut by {kind} ✂") for kind in tokenizations]
    properties += [
        prop("unindexed", "text", indexFilterable=False, indexSearchable=False), prop("filterable", "text[]", indexFilterable=True, indexSearchable=False, tokenization="field"),
        prop("ranged", "int", indexRangeFilters=True, indexFilterable=False), prop("number", "number", indexRangeFilters=True), prop("day", "date", indexRangeFilters=True),
        prop("nest", "object", description="described", indexFilterable=False, nestedProperties=[prop("inner", "text", tokenization="whitespace", indexSearchable=False, description="inside")]),
    ]
    stopwords = {"preset": "none", "additions": ["foo", "bár"], "removals": []}
    inverted = {"bm25": {"k1": 1.7, "b": 0.3}, "cleanupIntervalSeconds": 123, "stopwords": stopwords, "indexTimestamps": True, "indexNullState": True, "indexPropertyLength": True}
    definition = {
        "class": make.name("Options"), "description": "options, \"quoted\"\nand over two lines", "vectorizer": "none", "vectorIndexType": "hnsw",
        "vectorIndexConfig": {"distance": "l2-squared", "ef": 77, "efConstruction": 99, "maxConnections": 17, "dynamicEfMin": 55, "dynamicEfMax": 444, "dynamicEfFactor": 5,
                              "vectorCacheMaxObjects": 12345, "flatSearchCutoff": 321, "cleanupIntervalSeconds": 222, "skip": False,
                              "pq": {"enabled": False, "trainingLimit": 4321, "encoder": {"type": "tile", "distribution": "normal"}}},
        "invertedIndexConfig": inverted, "shardingConfig": {"desiredCount": 3, "virtualPerPhysical": 64}, "properties": properties,
        "replicationConfig": {"factor": 1},
    }
    if make.version >= (1, 28):
        definition["replicationConfig"]["deletionStrategy"] = "DeleteOnConflict"
        definition["vectorIndexConfig"]["filterStrategy"] = "acorn"
    objects = []
    for number in range(make.many(60, 600)):
        values = {one["name"]: make.text() for one in properties if one["dataType"] == ["text"]}
        values |= {"filterable": [make.text()], "ranged": number, "number": number / 7, "day": make.date(), "nest": {"inner": make.text()}}
        objects.append({"id": make.v4(), "properties": values, "vector": [f32(value) for value in EDGE_FLOATS] if number % 9 == 0 else make.vector(8)})
    return Plan(definition, objects=objects)


def ids(make):
    """Ids of every kind in one class: counters, times first (v7), random (v4), and both ends."""
    objects = [{"id": id, "properties": {"kind": kind, "number": number}, "vector": make.vector(4)}
               for kind, count, draw in (("counter", make.many(600, 12000), lambda n: counter(n + 1)), ("v7", make.many(500, 8000), make.v7), ("v4", make.many(400, 6000), lambda _: make.v4()))
               for number, id in enumerate(draw(number) for number in range(count))]
    ends = [counter(0), "ffffffff-ffff-ffff-ffff-ffffffffffff", "80000000-0000-0000-0000-000000000000", "7fffffff-ffff-ffff-ffff-ffffffffffff"]
    objects += [{"id": id, "properties": {"kind": "end", "number": number}, "vector": make.vector(4)} for number, id in enumerate(ends)]
    return Plan({"class": make.name("Ids"), "vectorizer": "none", "properties": [prop("kind", "text", tokenization="field"), prop("number", "int")]}, objects=objects)


def names(make):
    """Names that are words of SQL, columns of restow's own, or very long."""
    words = ["select", "from", "where", "order", "group", "null", "vector", "tenant", "_tenant", "_vector", "_creation_time", "__update_time", "_update_time",
             "camelCase", "UPPER", "_private", "__x", "a0", "x" * 200]
    objects = [{"id": make.v4(), "properties": {word: f"{word} {number}" for word in words if (number + len(word)) % 4}, "vector": make.vector(3)} for number in range(30)]
    return Plan({"class": make.name("Select_FROM_9"), "vectorizer": "none", "properties": [prop(word, "text") for word in words]}, objects=objects)


def tenants(make):
    """Many tenants, some of them cold, one of them empty."""
    names = [f"t{number:02}" if number % 5 else f"Tenant-{number}_x" for number in range(make.tenant_count)]
    status = {name: "COLD" if number % 7 == 3 else "HOT" for number, name in enumerate(names)} | {"t-empty": "HOT", "t-empty-cold": "COLD"}
    objects = []
    for place, tenant in enumerate(names):
        for number in range(make.per_tenant):
            # The same ids in every tenant, and some of its own: an id alone names nothing.
            id = counter(number + 1) if number % 2 else make.v4()
            objects.append({"id": id, "tenant": tenant, "properties": {"text": make.text(), "number": number * 1000 + place}, "vector": make.vector(4)})
    definition = {"class": make.name("Tenants"), "vectorizer": "none", "vectorIndexType": "flat", "multiTenancyConfig": {"enabled": True, "autoTenantActivation": False},
                  "properties": [prop("text", "text"), prop("number", "int"), prop("about", [make.name("Org")])]}
    references = [{"from": f"{beacon(make.name('Tenants'), one['id'])}/about", "to": beacon(make.name("Org"), counter(number % 20 + 1)), "tenant": one["tenant"]}
                  for number, one in enumerate(objects) if number % 11 == 0]
    return Plan(definition, tenants=status, objects=objects, references=references)


def automatic(make):
    """Tenants that wake up by themselves when they are read, which a backup has to put right again."""
    status = {"warm": "HOT", "cold": "COLD", "empty": "HOT"}
    # Each tenant has an index of its own, and so a length of vectors of its own.
    objects = [{"id": counter(number + 1), "tenant": tenant, "properties": {"text": make.text()}, "vectors": {"v": make.vector(length)}}
               for tenant, length in (("warm", 4), ("cold", 6)) for number in range(25)]
    definition = {"class": make.name("Automatic"), "vectorConfig": {"v": hnsw()}, "properties": [prop("text", "text")],
                  "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": True}}
    return Plan(definition, tenants=status, objects=objects)


def people(make):
    """Person knows Person and wrote Article; the other half of the cycle is `articles`."""
    count, name = make.many(80, 1500), make.name("Person")
    objects = [{"id": counter(number + 1), "properties": {"name": make.text()}, "vector": make.vector(4)} for number in range(count)]
    references = []
    for number in range(count):
        for other in make.rng.sample(range(count), make.rng.randint(0, 4)):
            references.append({"from": f"{beacon(name, counter(number + 1))}/knows", "to": beacon(name, counter(other + 1))})
        if number % 3 == 0:
            references.append({"from": f"{beacon(name, counter(number + 1))}/wrote", "to": beacon(make.name("Article"), counter(number + 1))})
    references.append({"from": f"{beacon(name, counter(1))}/knows", "to": beacon(name, counter(1))})
    definition = {"class": name, "vectorizer": "none", "properties": [prop("name", "text"), prop("knows", [name]), prop("wrote", [make.name("Article")], description="the cycle")]}
    return Plan(definition, objects=objects, references=references)


def articles(make):
    """Several references of one property, to two classes, doubled ones, and to objects that are gone."""
    count, name = make.many(80, 1500), make.name("Article")
    objects = [{"id": counter(number + 1), "properties": {"title": make.text()}} for number in range(count)]
    references = []
    for number in range(count):
        here = f"{beacon(name, counter(number + 1))}/authors"
        for _ in range(make.rng.randint(0, 3)):
            kind, most = make.rng.choice([("Person", 80), ("Org", 20)])
            references.append({"from": here, "to": beacon(make.name(kind), counter(make.rng.randint(1, most)))})
        if number % 10 == 0:
            references += [{"from": here, "to": beacon(make.name("Person"), counter(1))}] * 2
        if number % 10 == 5:
            references.append({"from": here, "to": beacon(make.name("Org"), counter(21 + number % 3))})
    definition = {"class": name, "vectorizer": "none", "properties": [prop("title", "text"), prop("authors", [make.name("Person"), make.name("Org")])]}
    return Plan(definition, objects=objects, references=references)


def organisations(make):
    """What others refer to; the last three are deleted once they are referred to."""
    objects = [{"id": counter(number + 1), "properties": {"name": make.text()}} for number in range(23)]
    return Plan({"class": make.name("Org"), "vectorizer": "none", "properties": [prop("name", "text")]}, objects=objects, doomed=[counter(number) for number in (21, 22, 23)])


def empty(make):
    """No object, but a schema."""
    return Plan({"class": make.name("Empty"), "vectorConfig": {"v": hnsw(distance="manhattan")}, "properties": [prop("text", "text"), prop("self", [make.name("Empty")]), prop("nums", "number[]")]})


def bare(make):
    """No property and no vector at all."""
    return Plan({"class": make.name("Bare"), "vectorizer": "none"}, objects=[{"id": make.v4(), "properties": {}} for _ in range(5)])


def large(make):
    """Near the limit of a message, 104,858,000 bytes; base64 makes 4 bytes of 3."""
    sizes = [15_000_000, *([60_000_000, 70_000_000] if make.full else []), 1_000_000, 3]
    objects = [{"id": counter(number + 1), "properties": {"name": f"blob {size}", "blob": make.blob(size)}, "vector": make.vector(4)} for number, size in enumerate(sizes)]
    return Plan({"class": make.name("Large"), "vectorizer": "none", "properties": [prop("name", "text"), prop("blob", "blob")]}, objects=objects)


def hashed(make):
    """A type whose values cannot be written back: the server keeps a digest of what it is given, and makes another one of a digest."""
    objects = [{"id": counter(number + 1), "properties": {"name": make.text(), "hash": make.blob(40)}} for number in range(10)]
    return Plan({"class": make.name("Hashed"), "vectorizer": "none", "properties": [prop("name", "text"), prop("hash", "blobHash")]}, objects=objects)


# What a fixture has, and what is only made on request.
CLASSES = {"Everything": everything, "Named": named, "Mixed": mixed, "Skipped": skipped, "Quantised": quantised, "Options": options, "Ids": ids, "Select_FROM_9": names, "Org": organisations, "Person": people,
           "Article": articles, "Tenants": tenants, "Automatic": automatic, "Empty": empty, "Bare": bare, "Large": large}
MORE = {"Hashed": hashed}


# ---- filling


def fill(rest, seed, prefix="", full=False, only=None, tenants=None, per_tenant=None, version=None):
    """Makes the classes (all, or those named in `only`), and what belongs to them. Gives their names. With a `version`, only what that
    older version can hold."""
    make = Maker(seed, prefix, min(version or (99, 0), rest.version()), full, tenants, per_tenant)
    plans = []
    for word in only or CLASSES:
        make.begin(word)
        plans.append({**CLASSES, **MORE}[word](make))
    put(rest, plans)
    if not only:
        around(rest, make)
    return [plan.definition["class"] for plan in plans]


def put(rest, plans):
    """Writes plans: classes without references, tenants, objects, properties that refer, references, deletions, and sleep at last."""
    plans = list(plans)
    for plan in plans:
        create(rest, {**plan.definition, "properties": [one for one in plan.definition.get("properties", []) if not refers(one)]})
        if plan.tenants:
            rest.call("POST", f"/schema/{plan.definition['class']}/tenants", [{"name": name, "activityStatus": "HOT"} for name in plan.tenants])
    for plan in plans:
        name = plan.definition["class"]
        for one in filter(refers, plan.definition.get("properties", [])):
            rest.call("POST", f"/schema/{name}/properties", one)
        for batch in batches(plan.objects):
            rest.put([{"class": name, **one} for one in batch])
    for plan in plans:
        rest.refer(plan.references)
    for plan in plans:
        name = plan.definition["class"]
        for id in plan.doomed:
            rest.call("DELETE", f"/objects/{name}/{id}")
        rest.set_tenants(name, "COLD", [tenant for tenant, status in plan.tenants.items() if status == "COLD"])


def create(rest, definition):
    """Makes a class; one with both kinds of vectors in two steps."""
    if not (definition.get("vectorConfig") and definition.get("vectorIndexType")):
        rest.create(definition)
        return
    rest.create({key: value for key, value in definition.items() if key != "vectorConfig"})
    found = rest.get(f"/schema/{definition['class']}")
    rest.call("PUT", f"/schema/{definition['class']}", found | {"vectorConfig": definition["vectorConfig"]})


def batches(objects, most=200, bytes=20_000_000):
    """Objects in batches that a server takes."""
    batch, size = [], 0
    for one in objects:
        blob = len(one.get("properties", {}).get("blob") or "")
        if batch and (len(batch) == most or size + blob > bytes):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += blob
    if batch:
        yield batch


def refers(property):
    return property["dataType"][0][0].isupper()


def around(rest, make):
    """Aliases, roles and users, where the version has them and the server checks who one is."""
    if make.version >= ALIASES:
        for alias, word in (("Alias", "Everything"), ("AliasTwo", "Everything"), ("AliasOfTenants", "Tenants")):
            rest.call("POST", "/aliases", {"alias": make.name(alias), "class": make.name(word)})
    if make.version < ROLES or not rest.key:
        return
    low = make.prefix.lower()
    permissions = {
        "reader": [{"action": "read_collections", "collections": {"collection": make.name("*")}}, {"action": "read_data", "data": {"collection": make.name("*"), "tenant": "*", "object": "*"}}],
        "tenant": [{"action": "read_data", "data": {"collection": make.name("Tenants"), "tenant": "t01", "object": "*"}},
                   {"action": "read_tenants", "tenants": {"collection": make.name("Tenants"), "tenant": "t*"}}],
        "keeper": [{"action": "manage_backups", "backups": {"collection": "*"}}, {"action": "read_nodes", "nodes": {"verbosity": "verbose", "collection": "*"}},
                   {"action": "read_roles", "roles": {"role": f"{low}*", "scope": "match"}}],
    }
    for word, rights in permissions.items():
        rest.call("POST", "/authz/roles", {"name": f"{low}{word}", "permissions": rights})
    for word, roles in (("ann", ["reader", "tenant"]), ("bob", [])):
        rest.call("POST", f"/users/db/{low}{word}")
        if roles:
            rest.call("POST", f"/authz/users/{low}{word}/assign", {"roles": [f"{low}{role}" for role in roles], "userType": "db"})


def wipe(rest, prefix=""):
    """Removes everything whose name has the prefix: classes, aliases, roles and users."""
    version, low = rest.version(), prefix.lower()
    if version >= ALIASES:
        for one in rest.get("/aliases").get("aliases") or []:
            if one["alias"].startswith(prefix):
                rest.call("DELETE", f"/aliases/{one['alias']}")
    for name in rest.classes():
        if name.startswith(prefix):
            rest.drop(name)
    if version >= ROLES and rest.key:
        for one in rest.get("/users/db"):
            if one["dbUserType"] == "db_user" and one["userId"].startswith(low):
                rest.call("DELETE", f"/users/db/{one['userId']}")
        for one in rest.get("/authz/roles"):
            if one["name"].startswith(low) and one["name"] not in BUILT_IN:
                rest.call("DELETE", f"/authz/roles/{one['name']}")


# Roles that are always there.
BUILT_IN = {"root", "admin", "viewer", "read-only"}
