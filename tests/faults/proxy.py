"""An HTTP proxy before one server that goes wrong as a rule says. Requests are passed on byte by byte, the Host header too, so that
signatures hold."""

import contextlib
import random
import socket
import struct
import threading
import time

HOST = "127.0.0.1"
# A reply that is slow: so many bytes at once, one second apart.
PIECE = 1
DELAY = 1.0
STRANGER = b"<html><body>It works!</body></html>"


class Rule:
    """Which requests go wrong, and how.

    `fault`: a status, with Retry-After where `retry_after` says so, as 503 does by itself; `slow`, one byte a second; `delay`, passed on
    after 1 s, also when the client has gone; `hang`, never answered; `refuse`, nobody listens for a while; `reset-request`, the connection breaks before half of the request
    was read; `reset-reply`, in the middle of the reply; `drop-reply`, after the request was carried out; `stranger`, another server
    answers 200. It concerns `count` requests of a method with `piece` in their path, after the first `after` of them; with
    `each`, so many of every path."""

    def __init__(self, fault, count=1, method=None, piece="", after=0, each=False, retry_after=None):
        self.fault, self.count, self.method, self.piece, self.after, self.each = fault, count, method, piece, after, each
        self.retry_after = 1 if retry_after is None and fault == "503" else retry_after
        self.met, self.injected = {}, 0

    def again(self):
        """The same rule with nothing counted yet."""
        return Rule(self.fault, self.count, self.method, self.piece, self.after, self.each, self.retry_after)

    def hits(self, method, path):
        """Counts a request, and tells whether it goes wrong."""
        if self.method not in (None, method) or self.piece not in path:
            return False
        key = f"{method} {path}" if self.each else None
        number = self.met[key] = self.met.get(key, 0) + 1
        hit = self.after < number <= self.after + self.count
        self.injected += hit
        return hit


class Gone(Exception):
    """The connection is over."""


class Proxy:
    """Listens on a free port of loopback until closed. Counts `requests`."""

    def __init__(self, port, seed):
        self.port_behind, self.rng = port, random.Random(seed)
        self.lock, self.rule, self.requests, self.open, self.closed = threading.Lock(), None, 0, set(), False
        self.changed = threading.Event()
        self.listener = listening(0)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, rule):
        """Sets the rule, `None` for none; gives how many faults the last one injected. What hangs by the last one is cut off."""
        with self.lock:
            last, self.rule = self.rule, rule
            self.changed.set()
            self.changed = threading.Event()
            if last:
                for connection in list(self.open):
                    reset(connection)
        return last.injected if last else 0

    def close(self):
        """Ends it, and every connection."""
        self.closed = True
        self.set(None)
        self.listener.close()
        for connection in list(self.open):
            reset(connection)

    def accept(self):
        while not self.closed:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                time.sleep(0.01)  # refusing, or closed
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, client):
        """One connection of a client, and one to the server for it."""
        server = None
        try:
            while True:
                head = read_head(client)
                method, path = head.split(b" ", 2)[:2]
                with self.lock:
                    self.requests += 1
                    rule = self.rule
                    fault = rule.fault if rule and rule.hits(method.decode(), path.decode()) else None
                    changed = self.changed
                if fault == "reset-request":
                    length = int(field(head, b"content-length") or 0)
                    read_exactly(client, length // 2)
                    raise Gone
                body = read_exactly(client, int(field(head, b"content-length") or 0))
                if fault and not self.passes(fault, rule, changed, client):
                    continue
                server = server or socket.create_connection((HOST, self.port_behind), timeout=60)
                server.sendall(head + body)
                reply = read_reply(server, method)
                self.answer(fault, client, reply, changed)
        except (Gone, OSError):
            pass
        finally:
            with self.lock:
                self.open.discard(client)
            reset(client)
            if server:
                server.close()

    def passes(self, fault, rule, changed, client):
        """Does what goes wrong before the server sees the request, and tells whether it shall see it."""
        if fault.isdigit():
            more = b"Retry-After: %d\r\n" % rule.retry_after if rule.retry_after else b""
            text = b"<Error><Code>SlowDown</Code><Message>made up by a test</Message></Error>"
            client.sendall(b"HTTP/1.1 %s Made Up\r\n%sContent-Length: %d\r\n\r\n%s" % (fault.encode(), more, len(text), text))
            return False
        if fault == "stranger":
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(STRANGER), STRANGER))
            return False
        if fault == "hang":
            changed.wait()
            raise Gone
        if fault == "delay":
            changed.wait(DELAY)  # and then it is passed on, whether anybody still waits or not
        if fault == "refuse":
            self.refuse(rule, changed)
            raise Gone
        return True

    def refuse(self, rule, changed):
        """Nobody listens: for 0.2 s a fault, for ever until the rule goes."""
        with self.lock:
            self.listener.close()
            for connection in list(self.open):
                reset(connection)
        changed.wait(min(0.2 * rule.count, 3600))
        rule.count = 0
        with self.lock, contextlib.suppress(OSError):
            if not self.closed:
                self.listener = listening(self.port)

    def answer(self, fault, client, reply, changed):
        """Gives the client the reply, or what the fault leaves of it."""
        if fault == "drop-reply":
            raise Gone
        if fault == "reset-reply":
            client.sendall(reply[: max(1, len(reply) - max(1, len(reply) // 4))])
            time.sleep(0.05)  # else the reset overtakes the bytes
            raise Gone
        if fault == "slow":
            for at in range(0, len(reply), PIECE):
                client.sendall(reply[at : at + PIECE])
                if changed.wait(1):
                    raise Gone
            return
        client.sendall(reply)


def listening(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(128)
    return listener


def reset(connection):
    """Ends a connection at once: the other side is told by a reset. Whoever reads from it here is woken up."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()


def read_head(connection):
    """Request or status line and headers. Byte by byte would be slow, so it peeks."""
    head = b""
    while True:
        seen = connection.recv(65536, socket.MSG_PEEK)
        if not seen:
            raise Gone
        end = (head + seen).find(b"\r\n\r\n")
        take = len(seen) if end < 0 else end + 4 - len(head)
        head += read_exactly(connection, take)
        if end >= 0:
            return head


def read_exactly(connection, length):
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise Gone
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def field(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def read_reply(server, method):
    """The whole reply, as it came."""
    head = read_head(server)
    status = int(head.split(b" ", 2)[1])
    if status == 100:
        return read_reply(server, method)
    if method == b"HEAD" or status in (204, 304):
        return head
    if (field(head, b"transfer-encoding") or b"").lower() == b"chunked":
        return head + read_chunks(server)
    return head + read_exactly(server, int(field(head, b"content-length") or 0))


def read_chunks(server):
    whole = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += read_exactly(server, 1)
        size = int(line.split(b";")[0], 16)
        whole += line + read_exactly(server, size + 2)
        if not size:
            return whole
