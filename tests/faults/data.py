"""Rows that are easily damaged on their way, the files that hold them, and what came back of them.

Rows are compared in a form of their own, independent of restow: floats by their bits (an integer of the same width), moments by their
count, everything else by value. Null and absent are not told apart here; tests of the formats do that.
"""

import json
import struct
from pathlib import Path

import pyarrow
import pyarrow.parquet

from harness import Failed

DIMENSION = 16
# Bit patterns that a conversion would lose: NaNs with payload, signalling ones too, -0.0, denormals, infinities, the extremes.
ODD_32 = [0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001, 0x807FFFFF, 0x7F800000, 0xFF800000, 0x7F7FFFFF]
ODD_64 = [0x7FF8000000000001, 0xFFF8DEADBEEF0000, 0x7FF0000000000001, 1 << 63, 1, 0x7FF0000000000000, 0x7FEFFFFFFFFFFFFF]
TEXTS = ["", "ä", "𝄞𝄞", "line\nbreak", 'quote"d', "null", "\u0000", "lorem ipsum " * 12]
MOMENT = pyarrow.timestamp("us", tz="UTC")


class Content:
    """The rows of each dataset, in comparable form, sorted by id."""

    def __init__(self, datasets):
        self.datasets = {name: sorted(rows, key=lambda row: str(row["id"])) for name, rows in datasets.items()}

    def count(self):
        return sum(map(len, self.datasets.values()))


class Source:
    """Three datasets in `files` files each: `items` in Parquet, `notes` and `edges` in JSON lines. Or only some of them."""

    def __init__(self, folder, rng, files=8, rows=120, datasets=None):
        self.folder, self.rng, self.files, self.rows = Path(folder), rng, files, rows
        self.datasets, self.parts = datasets or list(WRITERS), {}
        for dataset in self.datasets:
            (self.folder / dataset).mkdir(parents=True, exist_ok=True)
            for part in range(files):
                self.change(dataset, part)

    @property
    def splits(self):
        return len(self.parts)

    def change(self, dataset=None, part=None):
        """Writes one file anew, with other rows. An empty one is among them."""
        dataset = dataset or self.rng.choice(self.datasets)
        part = self.rng.randrange(self.files) if part is None else part
        # Never of all files of a dataset: the columns are inferred from the rows.
        count = 0 if part and self.rng.random() < 0.03 else self.rng.randint(self.rows // 2, self.rows)
        make, write, ending = WRITERS[dataset]
        rows = [make(self.rng, f"{dataset}-{part}-{n}") for n in range(count)]
        write(self.folder / dataset / f"{part:03}{ending}", rows)
        self.parts[dataset, part] = rows

    def content(self):
        """What a backup of it must give back."""
        datasets = {name: [] for name in self.datasets}
        for (dataset, _), rows in self.parts.items():
            datasets[dataset] += rows
        return Content(datasets)


def maybe(rng, value):
    return None if rng.random() < 0.1 else value


def bits_32(rng):
    return rng.choice(ODD_32) if rng.random() < 0.05 else float_bits("<f", rng.uniform(-4, 4))


def float_bits(form, number):
    return int.from_bytes(struct.pack(form, number), "little")


def item(rng, name):
    double = rng.choice(ODD_64) if rng.random() < 0.1 else float_bits("<d", rng.gauss(0, 1e9))
    return {
        "id": name, "n": maybe(rng, rng.randint(-(1 << 63), (1 << 63) - 1)), "score": maybe(rng, double), "text": maybe(rng, rng.choice(TEXTS)),
        "yes": maybe(rng, rng.random() < 0.5), "at": maybe(rng, rng.randint(-(1 << 50), 1 << 50)), "raw": maybe(rng, rng.randbytes(5)),
        "vector": [bits_32(rng) for _ in range(DIMENSION)],
    }


def note(rng, name):
    # JSON has no NaN; every float is written so that it reads back as the same bits.
    vector = [float_bits("<d", rng.uniform(-1, 1)) for _ in range(DIMENSION)]
    return {
        "id": name, "n": maybe(rng, rng.randint(-(1 << 63), (1 << 63) - 1)), "score": maybe(rng, float_bits("<d", rng.gauss(0, 1e9))),
        "text": maybe(rng, rng.choice(TEXTS)), "yes": maybe(rng, rng.random() < 0.5), "tags": maybe(rng, rng.choices(TEXTS, k=rng.randint(1, 3))),
        "vector": vector,
    }


def edge(rng, name):
    dataset, part, n = name.split("-")
    return {"id": int(part) * 100_000 + int(n), "from": f"n{rng.randrange(999)}", "to": f"n{rng.randrange(999)}", "weight": float_bits("<d", rng.random())}


def write_parquet(path, rows):
    column = lambda name: [row[name] for row in rows]
    bits = lambda values, width, kind: pyarrow.array(values, type=width).view(kind)
    flat = [element for row in rows for element in row["vector"]]
    columns = {
        "id": pyarrow.array(column("id"), pyarrow.string()), "n": pyarrow.array(column("n"), pyarrow.int64()),
        "score": bits(column("score"), pyarrow.uint64(), pyarrow.float64()), "text": pyarrow.array(column("text"), pyarrow.string()),
        "yes": pyarrow.array(column("yes"), pyarrow.bool_()), "at": bits(column("at"), pyarrow.int64(), MOMENT),
        "raw": pyarrow.array(column("raw"), pyarrow.binary()),
        "vector": pyarrow.FixedSizeListArray.from_arrays(bits(flat, pyarrow.uint32(), pyarrow.float32()), DIMENSION),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def write_lines(path, rows):
    doubles = {"score", "weight"}
    plain = lambda value: struct.unpack("<d", value.to_bytes(8, "little"))[0]
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            shown = {name: plain(value) if name in doubles and value is not None else value for name, value in row.items()}
            if "vector" in row:
                shown["vector"] = [plain(value) for value in row["vector"]]
            file.write(json.dumps(shown, ensure_ascii=False) + "\n")


WRITERS = {"items": (item, write_parquet, ".parquet"), "notes": (note, write_lines, ".jsonl"), "edges": (edge, write_lines, ".jsonl")}


# ---- reading what restow wrote


def comparable(column):
    """The values of a column in comparable form."""
    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    kind = array.type
    if pyarrow.types.is_float64(kind):
        return array.view(pyarrow.uint64()).to_pylist()
    if pyarrow.types.is_float32(kind):
        return array.view(pyarrow.uint32()).to_pylist()
    if pyarrow.types.is_timestamp(kind):
        return array.view(pyarrow.int64()).to_pylist()
    if pyarrow.types.is_fixed_size_list(kind):
        if array.null_count:
            raise Failed("a vector is null that was not")
        flat = comparable(array.flatten())
        return [flat[at : at + kind.list_size] for at in range(0, len(flat), kind.list_size)]
    if pyarrow.types.is_list(kind) and pyarrow.types.is_float64(kind.value_type):
        return [values and [float_bits("<d", value) for value in values] for values in array.to_pylist()]
    return array.to_pylist()


def read_export(folder):
    """The rows of an export in Parquet."""
    datasets = {}
    # `tmp` holds what a killed process left; it is removed when it is old.
    folders = sorted(path for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith("_") and path.name != "tmp")
    for place in folders:
        rows = datasets.setdefault(place.name, [])
        for file in sorted(place.rglob("*.parquet")):
            table = pyarrow.parquet.ParquetFile(file).read()
            columns = {name: comparable(table.column(name)) for name in table.column_names if not name.startswith("_restow_")}
            rows += [dict(zip(columns, values)) for values in zip(*columns.values())]
    return Content(datasets)


def difference(expected, found):
    """What is not the same, in a line; None where all is."""
    if set(expected.datasets) != set(found.datasets):
        return f"datasets {sorted(found.datasets)} instead of {sorted(expected.datasets)}"
    for name, rows in expected.datasets.items():
        others = found.datasets[name]
        if len(rows) != len(others):
            extra = {str(row["id"]) for row in others} ^ {str(row["id"]) for row in rows}
            return f"{name}: {len(others)} rows instead of {len(rows)}; ids that differ: {sorted(extra)[:5]}"
        for row, other in zip(rows, others):
            if row != other:
                names = [column for column in {**row, **other} if row.get(column) != other.get(column)]
                return f"{name}: row {row['id']!r}: " + "; ".join(f"{n} is {other.get(n)!r} instead of {row.get(n)!r}" for n in names[:3])
    return None
