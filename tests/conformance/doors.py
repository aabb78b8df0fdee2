"""What stands between restow and a server: a way that is cut, narrow, long or silent (toxiproxy, real TCP), or one that understands what
is asked, answers instead of the server, loses answers, or calls somebody when a certain request comes."""

import http.client
import json
import os
import re
import threading
import urllib.parse
from concurrent import futures

from harness import Failed
from proxy import Proxy, Rule
from suite import Relay, free_port

HOST = "127.0.0.1"


class Tunnel:
    """A way to a server that goes wrong as TCP does. `carried` counts the bytes."""

    def __init__(self, server):
        if "RESTOW_TEST_TOXIPROXY" not in os.environ:
            raise Failed("RESTOW_TEST_TOXIPROXY is not set: tests/servers/servers start toxiproxy --env")
        self.api = urllib.parse.urlsplit(os.environ["RESTOW_TEST_TOXIPROXY"]).netloc
        # Behind toxiproxy, which counts nothing.
        self.relays = [Relay(*address) for address in server.addresses]
        self.names = []
        addresses = []
        for relay in self.relays:
            port = free_port()
            name = f"way-{port}"
            self.ask("POST", "/proxies", {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{relay.port}", "enabled": True})
            self.names.append(name)
            addresses.append((HOST, port))
        self.server = server.at(addresses)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.api, timeout=30)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers={"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Failed(f"toxiproxy: {method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None

    @property
    def carried(self):
        return sum(relay.carried for relay in self.relays)

    def shut(self):
        """Cuts every connection; nobody listens."""
        for name in self.names:
            self.ask("POST", f"/proxies/{name}", {"enabled": False})

    def reopen(self):
        for name in self.names:
            self.ask("POST", f"/proxies/{name}", {"enabled": True})

    def cut(self):
        """Cuts every connection; new ones are taken at once."""
        self.shut()
        self.reopen()

    def toxic(self, kind, both=True, **attributes):
        """A toxic on the answers, and, unless it is for them alone, on what is sent too."""
        for name in self.names:
            for stream in ("downstream", "upstream") if both else ("downstream",):
                self.ask("POST", f"/proxies/{name}/toxics", {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes})

    def clear(self):
        """No toxics, and open."""
        for name in self.names:
            for toxic in self.ask("GET", f"/proxies/{name}/toxics"):
                self.ask("DELETE", f"/proxies/{name}/toxics/{toxic['name']}")
        self.reopen()

    def silence(self):
        return sum(relay.silence() for relay in self.relays)

    def close(self):
        for name in self.names:
            self.ask("DELETE", f"/proxies/{name}")
        for relay in self.relays:
            relay.close()


class Desk:
    """A way to a server that understands HTTP and gRPC. `set` takes one rule for all of its addresses; `requests` counts."""

    def __init__(self, server, seed):
        self.doors = [KINDS[kind](address[1], seed) for kind, address in zip(server.speaks, server.addresses) if kind in KINDS]
        if len(self.doors) < len(server.addresses):
            raise Failed(f"{server.label}: nobody here understands {server.speaks}")
        self.server = server.at([(HOST, door.port) for door in self.doors])

    @property
    def requests(self):
        return sum(door.requests for door in self.doors)

    def set(self, rule):
        for door in self.doors:
            door.set(rule)

    def close(self):
        for door in self.doors:
            door.close()



class Answer(Rule):
    """A [Rule] for several doors at once. `wanted(method, path)` chooses requests; `called` is called when one is hit, before it is
    passed on. `each` means each shape of request, of datasets of these names."""

    def __init__(self, fault, count=1, after=0, each=(), retry_after=None, wanted=None, called=None):
        super().__init__(fault, count, after=after, each=bool(each), retry_after=retry_after)
        self.names, self.wanted, self.called, self.lock = each, wanted, called, threading.Lock()

    def hits(self, method, path):
        if self.wanted and not self.wanted(method, path):
            return False
        with self.lock:
            hit = super().hits(method, shape(method, path, self.names) if self.names else path)
        if hit and self.called:
            self.called()
        return hit


class Log(Answer):
    """Nothing goes wrong; every request is written down."""

    def __init__(self):
        super().__init__(None)
        self.requests = []

    def hits(self, method, path):
        with self.lock:
            self.requests.append((method, path))
        return False


def shape(method, path, names):
    """A request without what differs between two of its kind: ids, names of datasets, the query."""
    known = set(names)
    parts = ["*" if part in known or re.fullmatch(r"[0-9a-f-]{36}", part) else part for part in path.split("?")[0].split("/")]
    return f"{method} {'/'.join(parts)}"


class Grpc:
    """Stands before a gRPC server. Calls of one message each way only; bytes are passed on as they are. To rules their method is `RPC`."""

    def __init__(self, port, seed):
        import grpc

        self.grpc, self.rule, self.requests = grpc, None, 0
        open_sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"{HOST}:{port}", options=[*open_sizes, ("grpc.enable_http_proxy", 0)])
        self.pool = futures.ThreadPoolExecutor(32)
        self.server = grpc.server(self.pool, options=open_sizes)
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port(f"{HOST}:0")
        self.server.start()

    def service(self, details):
        """What grpcio asks of a handler."""
        return self.grpc.unary_unary_rpc_method_handler(lambda message, context: self.answer(details.method, message, context))

    def answer(self, path, message, context):
        self.requests += 1
        rule = self.rule
        fault = rule.fault if rule and rule.hits("RPC", path) else None
        codes = self.grpc.StatusCode
        wrong = {"401": codes.UNAUTHENTICATED, "403": codes.PERMISSION_DENIED, "429": codes.RESOURCE_EXHAUSTED, "503": codes.UNAVAILABLE, "reset-request": codes.UNAVAILABLE}
        if fault in wrong:
            context.abort(wrong[fault], "made up by a test")
        call = self.channel.unary_unary(path)
        metadata = [(key, value) for key, value in context.invocation_metadata() if not key.startswith(("user-agent", "grpc-", ":"))]
        try:
            reply = call(message, metadata=metadata, timeout=context.time_remaining())
        except self.grpc.RpcError as error:
            context.abort(error.code(), error.details())
        if fault == "drop-reply":
            context.abort(codes.UNAVAILABLE, "the answer was lost, made up by a test")
        return reply

    def set(self, rule):
        last, self.rule = self.rule, rule
        return last.injected if last else 0

    def close(self):
        self.server.stop(None)
        self.channel.close()
        self.pool.shutdown(wait=False)


KINDS = {"http": Proxy, "grpc": Grpc}
