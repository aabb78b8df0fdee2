"""Servers that are not well, and targets that would keep something otherwise: refused before the first change, by name, with both sides."""

import contextlib
import http.client
import http.server
import json
import select
import socket
import ssl
import subprocess
import threading

import simple
from suite import Relay, Vault, expect, free_port, none

from . import connection, fixture

WORD = "Health"
# Keys that 1.27 does not know: each loses something that somebody counts on.
NEWEST = (1, 37)
LOST = {"invertedIndexConfig.stopwordPresets": "stopwordPresets", "properties.title.textAnalyzer": "asciiFold", "properties.next.disableDuplicatedReferences": "disableDuplicatedReferences"}


def jobs(suite, group):
    for server in suite.servers:
        for job in (read_only, another_metric, another_length, sick, modules, certificates, addresses):
            name = f"{job.__name__.replace('_', ' ')} {server.label}"
            yield name, lambda job=job, server=server, name=name: job(suite, group, server, name)
        for other in suite.servers:
            if other.handle.version() < NEWEST <= server.handle.version():
                name = f"dropped keys from {server.label} to {other.label}"
                yield name, lambda server=server, other=other, name=name: dropped(suite, group, server, other, name)


class Lying:
    """The REST interface of a server, whose answers `change(path, value)` may change before they come back."""

    def __init__(self, server, change=lambda path, value: value, status=lambda path: None):
        host, port = server.addresses[0]

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                code, text = status(self.path), b""
                if code is None:
                    behind = http.client.HTTPConnection(host, port, timeout=120)
                    behind.request(self.command, self.path, body=body or None, headers={name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"})
                    answer = behind.getresponse()
                    code, text = answer.status, answer.read()
                    behind.close()
                    with contextlib.suppress(ValueError):
                        text = json.dumps(change(self.path, json.loads(text))).encode()
                self.send_response(code)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def lying(server, **how):
    """The server, seen through answers that are changed."""
    liar = Lying(server, **how)
    try:
        yield server.at([("127.0.0.1", liar.port), server.addresses[1]])
    finally:
        liar.close()


@contextlib.contextmanager
def backed_up(suite, server, rng, *datasets, change=lambda definition: definition, count=20):
    """Plain datasets, their rows and a snapshot of them."""
    database, rows = suite.database, {}
    vault = Vault(suite, server, "health")
    try:
        database.wipe(server, WORD)
        for dataset in datasets:
            make(server, dataset, change)
            rows[dataset] = simple.rows(rng, count)
            database.put(server, dataset, rows[dataset])
        vault.backup(list(datasets))
        yield vault, rows
    finally:
        database.wipe(server, WORD)
        vault.remove()


def make(server, dataset, change=lambda definition: definition):
    kinds = {"name": "text", "number": "int", "ratio": "number", "flag": "boolean", "day": "date", "tags": "text[]"}
    server.handle.create(change({"class": dataset, "vectorizer": "none", "properties": [fixture.prop(name, kind) for name, kind in kinds.items()]}))


def refused(suite, server, ran, before, *parts):
    """It says each of these parts, and the server is as it was."""
    for part in parts:
        ran.says(part)
    none(suite.database.differences(before, suite.database.read(server, WORD)), "something was changed", ran)


def read_only(suite, group, server, name):
    """A shard that takes no objects: refused before one is sent."""
    dataset, rest = f"{WORD}Closed", server.handle
    with backed_up(suite, server, group.random(name), dataset) as (vault, _), group.case(name):
        shard = rest.get(f"/schema/{dataset}/shards")[0]["name"]
        before = suite.database.read(server, WORD)
        rest.call("PUT", f"/schema/{dataset}/shards/{shard}", {"status": "READONLY"})
        options = {"mode": "append", "conflicts": "overwrite", "safety": "none"}
        ran = vault.restore(codes=(7,), **options)
        refused(suite, server, ran, before, dataset, shard, "READONLY", "READY")
        vault.place.run("plan", vault.restore_file(**options)).ends(7).says("READONLY")
        rest.call("PUT", f"/schema/{dataset}/shards/{shard}", {"status": "READY"})
        vault.restore(**options)


def another_metric(suite, group, server, name):
    """A class that is there and measures otherwise: both sides are named, and the user may say that it is meant."""
    source, target = f"{WORD}Cosine", f"{WORD}Squared"
    with backed_up(suite, server, group.random(name), source) as (vault, rows):
        make(server, target, lambda definition: definition | {"vectorIndexConfig": {"distance": "l2-squared"}})
        before = suite.database.read(server, WORD)
        options = {"mode": "append", "rename": {source: target}}
        with group.case(f"{name}: refused"):
            ran = vault.restore(codes=(7,), **options)
            refused(suite, server, ran, before, "vectorIndexConfig.distance", "l2-squared", "cosine", "accept")
        with group.case(f"{name}: accepted"):
            vault.restore(accept=["vectorIndexConfig.distance"], **options).says("as `accept` allows")
            wrong = simple.difference(rows[source], suite.database.rows(server, target))
            expect(wrong is None, f"rows: {wrong}")


def another_length(suite, group, server, name):
    """Vectors of another length than those that are there, of a class, of a named vector, of one tenant."""
    rest, rng = server.handle, group.random(name)
    shapes = {
        "unnamed": ({}, lambda length, number: {"vector": [float(number)] * length}),
        "named": ({"vectorConfig": {"one": fixture.hnsw()}}, lambda length, number: {"vectors": {"one": [float(number)] * length}}),
        "tenants": ({"multiTenancyConfig": {"enabled": True}}, lambda length, number: {"vector": [float(number)] * length, "tenant": "t1"}),
    }
    for word, (more, vectors) in shapes.items():
        with group.case(f"{name}: {word}"):
            vault, long, short = Vault(suite, server, "length"), f"{WORD}Long", f"{WORD}Short"
            try:
                suite.database.wipe(server, WORD)
                for dataset, length in ((long, 8), (short, 5)):
                    rest.create({"class": dataset, "properties": [fixture.prop("name", "text")]} | ({} if "vectorConfig" in more else {"vectorizer": "none"}) | more)
                    if word == "tenants":
                        rest.call("POST", f"/schema/{dataset}/tenants", [{"name": "t1"}])
                    rest.put([{"class": dataset, "id": fixture.counter(rng.getrandbits(60)), "properties": {"name": "x"}} | vectors(length, number) for number in range(1, 6)])
                vault.backup([short])
                before = suite.database.read(server, WORD)
                ran = vault.restore(codes=(7,), mode="append", rename={short: long})
                refused(suite, server, ran, before, "has the length 8, and the rows have the length 5")
            finally:
                suite.database.wipe(server, WORD)
            vault.remove()


def sick(suite, group, server, name):
    """Nodes that are away or take no writes, a version that nobody knows, a server that is not ready."""
    dataset = f"{WORD}Sick"

    def nodes(**more):
        def change(path, value):
            return {"nodes": [node | more for node in value["nodes"]]} if path.startswith("/v1/nodes") else value
        return change

    with backed_up(suite, server, group.random(name), dataset) as (vault, _):
        before = suite.database.read(server, WORD)
        rename = {dataset: f"{dataset}Again"}
        quickly = {"on_error": {"retry": {"attempts": 2, "delay": "100ms"}}}
        cases = {
            "a node away": (dict(change=nodes(status="UNAVAILABLE")), 75, "UNAVAILABLE", 0),
            "read-only mode": (dict(change=nodes(operationalMode="ReadOnly")), 7, "ReadOnly", 0),
            "write-only mode": (dict(change=nodes(operationalMode="WriteOnly")), 7, "WriteOnly", 7),
            "an old version": (dict(change=lambda path, value: value | {"version": "1.22.3"} if path == "/v1/meta" else value), 7, "1.22.3", 7),
            "not ready": (dict(status=lambda path: 503 if path == "/v1/.well-known/ready" else None), 75, "not ready", 75),
        }
        for what, (how, code, word, reading) in cases.items():
            with lying(server, **how) as liar:
                with group.case(f"{name}: {what}: restore"):
                    ran = vault.restore(codes=(code,), server=liar, rename=rename, more=quickly)
                    refused(suite, server, ran, before, word)
                with group.case(f"{name}: {what}: plan"):
                    vault.place.run("plan", vault.restore_file(server=liar, rename=rename)).ends(code).says(word)
                with group.case(f"{name}: {what}: backup"):
                    ran = vault.run(vault.backup_file([dataset], name="sick", server=liar, more=quickly), codes=(reading,))
                    if word != "ReadOnly":
                        ran.says(word)


def modules(suite, group, server, name):
    """A vectorizer that the target lacks is refused before the class is made; a module for searches is said."""
    dataset, rest = f"{WORD}Module", server.handle

    def vectorized(path, value):
        if path == "/v1/schema":
            for one in value["classes"]:
                if one["class"] == dataset:
                    one["vectorizer"] = "text2vec-openai"
        return value

    with backed_up(suite, server, group.random(name), dataset, change=lambda one: one | {"moduleConfig": {"generative-cohere": {}}}) as (vault, _):
        before = suite.database.read(server, WORD)
        with group.case(f"{name}: for searches"):
            vault.restore(rename={dataset: f"{dataset}Again"}).says("generative-cohere")
            rest.drop(f"{dataset}Again")
        with group.case(f"{name}: vectorizer"), lying(server, change=vectorized) as liar:
            vault.backup([dataset], server=liar, name="vectorized")
            ran = vault.restore(codes=(7,), rename={dataset: f"{dataset}Again"})
            refused(suite, server, ran, before, "text2vec-openai", "backup-filesystem", "ENABLE_MODULES")


def certificates(suite, group, server, name):
    """TLS with a certificate of an own authority: taken where the authority is named, else refused at once."""
    dataset = f"{WORD}Sealed"
    with backed_up(suite, server, group.random(name), dataset) as (vault, rows):
        folder = vault.place.root / "tls"
        folder.mkdir()
        authority = certified(folder)
        relays = [suite.opened(Sealed(*address, folder, protocol)) for address, protocol in zip(server.addresses, ("http/1.1", "h2"))]
        (_, rest), (_, grpc) = addresses = [("127.0.0.1", relay.port) for relay in relays]
        behind = server.at(addresses)
        options = behind.connection["weaviate"]
        options |= {"url": f"https://127.0.0.1:{rest}", "grpc": f"127.0.0.1:{grpc}"}
        with group.case(f"{name}: not trusted"):
            vault.backup([dataset], name="stranger", server=behind, codes=(1,)).says("ca_file").within(60)
        with group.case(f"{name}: trusted"):
            options["ca_file"] = str(authority)
            vault.restore(server=behind, name="trusted", rename={dataset: f"{dataset}Again"})
            wrong = simple.difference(rows[dataset], suite.database.rows(server, f"{dataset}Again"))
            expect(wrong is None, f"rows: {wrong}")
        with group.case(f"{name}: TLS where there is none"):
            options["url"] = "https://{}:{}".format(*server.addresses[0])
            vault.backup([dataset], name="plain", server=behind, codes=(1,)).says("http://").within(60)
        for relay in relays:
            relay.close()


def certified(folder):
    """An authority, and a certificate by it for this machine, in `certificate.pem` and `key.pem`; gives the file of the authority."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=Test authority")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("req", *curve, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "certificate.pem")
    return folder / "authority.pem"


class Sealed(Relay):
    """A relay that speaks TLS to who comes, and none to the server."""

    def __init__(self, host, port, folder, protocol):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        self.context.set_alpn_protocols([protocol])
        super().__init__(host, port)

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except (OSError, ValueError):
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            client = self.context.wrap_socket(client, server_side=True)
        except OSError:
            return
        with contextlib.suppress(OSError), client, socket.create_connection(self.behind, timeout=60) as server:
            server.settimeout(None)
            client.setblocking(False)
            self.between(client, server)

    @staticmethod
    def between(client, server):
        """Passes bytes on both ways from one thread: a connection of TLS is not for two at once."""
        while True:
            ready = select.select([client, server], [], [], 0 if client.pending() else None)[0]
            if client in ready or client.pending():
                with contextlib.suppress(ssl.SSLWantReadError):
                    data = client.recv(1 << 16)
                    if not data:
                        return
                    server.sendall(data)
            if server in ready:
                data = server.recv(1 << 16)
                if not data:
                    return
                while data:
                    try:
                        data = data[client.send(data) :]
                    except ssl.SSLWantWriteError:
                        select.select([], [client], [])


def addresses(suite, group, server, name):
    """Several addresses of one cluster: all are used, those that are away are left out, a stranger is refused."""
    dataset = f"{WORD}Many"

    def through(relays, dead=()):
        ends = [[("127.0.0.1", free_port() if number in dead else pair[place].port) for number, pair in enumerate(relays)] for place in (0, 1)]
        found = connection(("127.0.0.1", 0), ("127.0.0.1", 0), bool(server.handle.key))
        found["weaviate"] |= {"url": "http://" + ",".join(f"{host}:{port}" for host, port in ends[0]), "grpc": ",".join(f"{host}:{port}" for host, port in ends[1])}
        several = server.at(server.addresses)
        several.connection = found
        return several

    with backed_up(suite, server, group.random(name), dataset, count=300) as (vault, rows):
        relays = [[suite.opened(Relay(*address)) for address in server.addresses] for _ in range(2)]

        def there_and_back(several, target):
            vault.backup([dataset], name=f"backup-{target}".lower(), server=several)
            vault.restore(name=f"restore-{target}".lower(), server=several, rename={dataset: target})
            wrong = simple.difference(rows[dataset], suite.database.rows(server, target))
            expect(wrong is None, f"rows: {wrong}")

        with group.case(f"{name}: both"):
            there_and_back(through(relays), f"{WORD}Both")
            expect(all(relay.passed > 0 for pair in relays for relay in pair), f"bytes of answers: {[[relay.passed for relay in pair] for pair in relays]}")
        for dead in (0, 1):
            with group.case(f"{name}: one is away, {dead}"):
                there_and_back(through(relays, (dead,)), f"{WORD}Left{dead}")
        with group.case(f"{name}: one goes away in the middle"):
            file = vault.restore_file(name="middle", server=through(relays), rename={dataset: f"{WORD}Middle"}, batch_bytes="1KiB")
            relays[1][1].cut_after(200)
            vault.run(file)
            wrong = simple.difference(rows[dataset], suite.database.rows(server, f"{WORD}Middle"))
            expect(wrong is None, f"rows: {wrong}")
            relays[1][1].cut_after(None)
            relays[1][1].join()
        with group.case(f"{name}: all are away"):
            several = through(relays, (0, 1))
            ran = vault.run(vault.backup_file([dataset], name="none", server=several), codes=(75,), within=120)
            ran.says(several.connection["weaviate"]["url"].rsplit(":", 1)[1])
        stranger = suite.opened(Lying(server, lambda path, value: {"nodes": [node | {"name": "stranger"} for node in value["nodes"]]} if path.startswith("/v1/nodes") else value))
        with group.case(f"{name}: of another cluster"):
            mixed = through([relays[0], [stranger, relays[1][1]]])
            before = suite.database.read(server, WORD)
            ran = vault.restore(codes=(7,), server=mixed, name="mixed", rename={dataset: f"{WORD}Mixed"})
            refused(suite, server, ran, before, "stranger", "cluster")
        for pair in relays:
            for relay in pair:
                relay.close()


def dropped(suite, group, server, other, name):
    """What an older version drops without a word is refused by its path, and may be accepted; what harms nobody is said."""
    dataset, plain = f"{WORD}Lost", f"{WORD}Kept"

    def change(definition):
        if definition["class"] == plain:
            return definition
        properties = [fixture.prop("title", "text", textAnalyzer={"asciiFold": True}), fixture.prop("next", [dataset], disableDuplicatedReferences=True)]
        return definition | {"invertedIndexConfig": {"stopwordPresets": {"mine": ["a", "the"]}}, "properties": [*definition["properties"], *properties]}

    with backed_up(suite, server, group.random(name), dataset, plain, change=change) as (vault, rows):
        try:
            suite.database.wipe(other, WORD)
            nothing = suite.database.read(other, WORD)
            for what, run in (("restore", lambda **options: vault.restore([dataset], codes=(7,), server=other, **options)),
                              ("plan", lambda **options: vault.place.run("plan", vault.restore_file([dataset], server=other, **options)).ends(7))):
                with group.case(f"{name}: {what}"):
                    refused(suite, other, run(), nothing, *LOST, *LOST.values(), "1.27", "nothing was changed")
                with group.case(f"{name}: {what}, a part accepted"):
                    refused(suite, other, run(accept=["invertedIndexConfig", "properties.next"]), nothing, "does not keep all of collection")
            with group.case(f"{name}: accepted"):
                accept = ["properties.*.textAnalyzer", *list(LOST)[:1], list(LOST)[2]]
                ran = vault.restore([dataset], server=other, accept=accept)
                for path in LOST:
                    ran.says(path)
                wrong = simple.difference(rows[dataset], suite.database.rows(other, dataset))
                expect(wrong is None, f"rows: {wrong}")
            with group.case(f"{name}: harmless"):
                ran = vault.restore([plain], server=other, name="plain").says("usingBlockMaxWAND")
                wrong = simple.difference(rows[plain], suite.database.rows(other, plain))
                expect(wrong is None, f"rows: {wrong}", ran)
        finally:
            suite.database.wipe(other, WORD)
