"""Weaviate's REST interface, raw: nothing is dropped, renamed or rounded on the way."""

import http.client
import json
import threading
import urllib.parse

PAGE = 500


class Refused(Exception):
    """The server answered with another status than the caller takes; `status` and the text of the answer."""

    def __init__(self, method, path, status, text):
        super().__init__(f"{method} {path}: status {status}: {text[:600]}")
        self.status, self.body = status, text


def number(text):
    """A JSON number without a point. Python reads `-0` as 0, and loses the sign."""
    return -0.0 if text == "-0" else int(text)


class Rest:
    """One server; each thread has a connection of its own."""

    def __init__(self, host, port, key=None):
        self.host, self.port, self.key, self.local = host, port, key, threading.local()

    def send(self, method, path, body=None, timeout=300):
        """Status and text of the answer. A request that meets a closed connection is sent once more."""
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            try:
                connection.request(method, f"/v1{path}", body=data, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise
            except BaseException:
                connection.close()
                self.local.connection = None
                raise

    def call(self, method, path, body=None, takes=(200, 201, 204)):
        """The answer, decoded; any status but those `takes` is an exception."""
        status, text = self.send(method, path, body)
        if status not in takes:
            raise Refused(method, path, status, text)
        return json.loads(text, parse_int=number) if text.strip() else None

    def get(self, path):
        """Never nothing: a server that meets a NaN in a vector answers 200 and an empty body."""
        found = self.call("GET", path, takes=(200,))
        if found is None:
            raise Refused("GET", path, 200, "an empty answer")
        return found

    def version(self):
        """(1, 39) of 1.39.2."""
        return tuple(int(part) for part in self.get("/meta")["version"].split(".")[:2])

    # ---- classes

    def classes(self):
        return {found["class"]: found for found in self.get("/schema")["classes"] or []}

    def create(self, definition):
        return self.call("POST", "/schema", definition)

    def drop(self, name):
        self.call("DELETE", f"/schema/{name}")

    def tenants(self, name):
        """Name to status, as the server puts it."""
        return {one["name"]: one["activityStatus"] for one in self.get(f"/schema/{name}/tenants") or []}

    def set_tenants(self, name, status, tenants):
        """Sets the status of tenants, a hundred a call as the server wants it."""
        tenants = list(tenants)
        for start in range(0, len(tenants), 100):
            self.call("PUT", f"/schema/{name}/tenants", [{"name": one, "activityStatus": status} for one in tenants[start : start + 100]])

    def remove_tenants(self, name, tenants):
        """Removes tenants, and what they hold."""
        self.call("DELETE", f"/schema/{name}/tenants", list(tenants))

    # ---- objects

    def objects(self, name, tenant=None, vectors=True, page=PAGE):
        """Every object of a class or tenant by the cursor, page by page until one is empty."""
        after = ""
        while True:
            query = {"class": name, "limit": page, "after": after} | ({"include": "vector"} if vectors else {}) | ({"tenant": tenant} if tenant else {})
            found = self.get(f"/objects?{urllib.parse.urlencode(query)}")["objects"] or []
            if not found:
                return
            yield from found
            after = found[-1]["id"]

    def object(self, name, id, tenant=None, vectors=True):
        """One object, or none."""
        query = ({"include": "vector"} if vectors else {}) | ({"tenant": tenant} if tenant else {})
        status, text = self.send("GET", f"/objects/{name}/{id}?{urllib.parse.urlencode(query)}")
        if status not in (200, 404):
            raise Refused("GET", f"/objects/{name}/{id}", status, text)
        return json.loads(text, parse_int=number) if status == 200 else None

    def put(self, objects, most=200):
        """Writes objects in batches, and looks at the result of each."""
        self.batches("/batch/objects", objects, most, lambda batch: {"objects": batch})

    def refer(self, references, most=500):
        """Adds references, {from, to[, tenant]} each."""
        self.batches("/batch/references", references, most, lambda batch: batch)

    def batches(self, path, items, most, body):
        for start in range(0, len(items), most):
            batch = items[start : start + most]
            found = self.call("POST", path, body(batch))
            wrong = [one["result"].get("errors") for one in found if one["result"].get("status") != "SUCCESS"]
            if wrong or len(found) != len(batch):
                raise Refused("POST", path, 200, f"{len(wrong)} of {len(batch)} failed: {json.dumps(wrong[:3])}")


def beacon(name, id):
    return f"weaviate://localhost/{name}/{id}"
