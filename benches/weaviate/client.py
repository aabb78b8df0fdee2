"""The official Python client as a rival: reads a collection into a Parquet file, writes one from it. Prints one line of JSON.

    client.py scan COLLECTION FILE CACHE_SIZE     `iterator(include_vector=True)`; 0 stands for the client's own cache size
    client.py restore COLLECTION FILE             `batch.dynamic()`; the file is read before the clock runs

WEAVIATE_REST and WEAVIATE_GRPC are HOST:PORT, WEAVIATE_API_KEY the key, WEAVIATE_PID the process of the server: the processor time of both
sides is printed too. The start of Python and the connecting are not timed.
"""

import json
import os
import sys
import time
import warnings

# Of libraries, about other libraries.
warnings.simplefilter("ignore")

import numpy
import pyarrow
import pyarrow.parquet
import weaviate
from weaviate.classes.init import Auth

# Objects of one row group.
GROUP = 10_000


class Clock:
    """What the clock and the processors say since it was made."""

    def __init__(self):
        self.began, self.own, self.server = time.monotonic(), time.process_time(), server_spent()

    def stop(self):
        cpu = {"cpu": time.process_time() - self.own, "server_cpu": server_spent() - self.server}
        return {"seconds": time.monotonic() - self.began} | cpu


def server_spent():
    """Processor time of the server in seconds, as Linux counts it: in hundredths."""
    with open(f"/proc/{os.environ['WEAVIATE_PID']}/stat") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / 100


def table_of(objects):
    """Objects of the client as a table: id, vector, one column a property."""
    # The server gives them in any order.
    names = sorted(objects[0].properties)
    vectors = [one.vector["default"] for one in objects]
    flat = pyarrow.array(numpy.asarray(vectors, dtype=numpy.float32).reshape(-1))
    columns = {"id": [str(one.uuid) for one in objects], "vector": pyarrow.FixedSizeListArray.from_arrays(flat, len(vectors[0]))}
    return pyarrow.table(columns | {name: [one.properties[name] for one in objects] for name in names})


def scan(collection, file, cache):
    clock, count, writer, group = Clock(), 0, None, []

    def flush():
        nonlocal writer, count
        table = table_of(group)
        writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
        count += len(group)
        group.clear()

    for one in collection.iterator(include_vector=True, **({"cache_size": cache} if cache else {})):
        group.append(one)
        if len(group) == GROUP:
            flush()
    if group:
        flush()
    if writer:
        writer.close()
    return count, clock.stop()


def restore(collection, file):
    table = pyarrow.parquet.read_table(file)
    ids = table["id"].to_pylist()
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
    rows = table.drop_columns(["id", "vector"]).to_pylist()
    clock = Clock()
    with collection.batch.dynamic() as batch:
        for id, row, vector in zip(ids, rows, vectors):
            batch.add_object(properties=row, uuid=id, vector={"default": vector.tolist()})
    times = clock.stop()
    if failed := collection.batch.failed_objects:
        sys.exit(f"client.py: {len(failed)} objects were refused, the first: {failed[0].message}")
    return len(ids), times


def main():
    what, name, *rest = sys.argv[1:]
    (host, port), (grpc_host, grpc_port) = (os.environ[name].rsplit(":", 1) for name in ("WEAVIATE_REST", "WEAVIATE_GRPC"))
    places = {"http_host": host, "http_port": int(port), "http_secure": False}
    places |= {"grpc_host": grpc_host, "grpc_port": int(grpc_port), "grpc_secure": False}
    with weaviate.connect_to_custom(**places, auth_credentials=Auth.api_key(os.environ["WEAVIATE_API_KEY"])) as client:
        collection = client.collections.use(name)
        objects, times = scan(collection, rest[0], int(rest[1])) if what == "scan" else restore(collection, rest[0])
    versions = {"weaviate-client": weaviate.__version__, "pyarrow": pyarrow.__version__, "python": sys.version.split()[0]}
    print(json.dumps({"objects": objects} | times | {"versions": versions}))


main()
