#!/usr/bin/env python3
"""The XML API of Google Cloud Storage in front of fake-gcs-server, which has the JSON API only.

object_store speaks the XML API (cloud.google.com/storage/docs/xml-api); fake-gcs-server 1.56.1 answers its PUT with
"invalid uploadType". This translates each call into one JSON call, so that objects, generations and preconditions stay those
of fake-gcs-server. Its own state is only the parts of unfinished multipart uploads.

    gcs_front.py PROGRAM PORT BACKEND_PORT

Starts PROGRAM on BACKEND_PORT, serves on PORT, ends when either ends.
"""

import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

HOST = "127.0.0.1"
NAMED = {
    "content-type": "contentType", "cache-control": "cacheControl", "content-encoding": "contentEncoding",
    "content-disposition": "contentDisposition", "content-language": "contentLanguage", "x-goog-storage-class": "storageClass",
}
OWN = {"connection", "transfer-encoding", "keep-alive", "date", "server"}  # headers of one hop


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    backend_port = 0
    uploads = {}  # id -> (headers of the first call, {part number: bytes})
    lock = threading.Lock()

    def setup(self):
        super().setup()
        self.backend = http.client.HTTPConnection(HOST, self.backend_port, timeout=60)

    def finish(self):
        self.backend.close()
        super().finish()

    def handle_any(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding"):
            return self.reply(411, b"send a content-length")
        if re.match(r"/(storage|upload|download|batch|_internal)/", url.path):
            return self.reply(*self.call(self.command, self.path, self.body, self.headers))
        bucket, _, key = url.path.lstrip("/").partition("/")
        if not key:
            return self.list(bucket) if self.command == "GET" else self.reply(405, b"only GET on a bucket")
        return self.object(bucket, key)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def object(self, bucket, key):
        """One call on an object; bucket and key are still percent-encoded, as JSON paths want them."""
        if self.command in ("GET", "HEAD"):
            return self.read(bucket, key)
        if "uploads" in self.query or "uploadId" in self.query:
            return self.multipart(bucket, key)
        if self.command == "DELETE":
            status, headers, body = self.call("DELETE", f"/storage/v1/b/{bucket}/o/{key}?" + urlencode(self.conditions()))
            return self.reply(204 if status == 200 else status, {}, b"" if status == 200 else body)
        if self.command == "PUT" and "x-goog-copy-source" in self.headers:
            return self.copy(bucket, key)
        if self.command == "PUT":
            return self.stored(*self.insert(bucket, key, self.body, self.headers))
        return self.reply(400, b"no such call in the XML API")

    def read(self, bucket, key):
        """fake-gcs-server answers in full whatever the conditions of a read say: they are judged here (RFC 9110, 13.2.2)."""
        status, headers, body = self.download(bucket, key, self.command, self.headers)
        if status not in (200, 206):
            return self.reply(status, headers, body)
        asked, tag, changed = self.headers, headers["Etag"], parsedate_to_datetime(headers["Last-Modified"])
        if "if-match" in asked:
            failed = asked["if-match"] not in ("*", tag)
        else:
            failed = "if-unmodified-since" in asked and changed > parsedate_to_datetime(asked["if-unmodified-since"])
        if "if-none-match" in asked:
            same = asked["if-none-match"] in ("*", tag)
        else:
            same = "if-modified-since" in asked and changed <= parsedate_to_datetime(asked["if-modified-since"])
        if failed:
            return self.reply(412, b"")
        return self.reply(304, {"etag": tag}, b"") if same else self.reply(status, headers, body)

    def download(self, bucket, key, method="GET", headers=None):
        query = urlencode({**self.query, "alt": "media"})
        return self.call(method, f"/download/storage/v1/b/{bucket}/o/{key}?{query}", b"", headers)

    def conditions(self):
        names = {"x-goog-if-generation-match": "ifGenerationMatch", "x-goog-if-metageneration-match": "ifMetagenerationMatch"}
        return {value: self.headers[name] for name, value in names.items() if name in self.headers}

    def insert(self, bucket, key, content, headers):
        """uploadType=multipart: metadata and content in one request, under the caller's precondition."""
        meta = {field: headers[name] for name, field in NAMED.items() if name in headers}
        own = {name[12:].lower(): value for name, value in headers.items() if name.lower().startswith("x-goog-meta-")}
        meta |= {"name": unquote(key), "metadata": own}
        mark = secrets.token_hex(24)
        body = b"".join([
            f"--{mark}\r\ncontent-type: application/json\r\n\r\n{json.dumps(meta)}\r\n".encode(),
            f"--{mark}\r\ncontent-type: {meta.get('contentType', 'application/octet-stream')}\r\n\r\n".encode(), content,
            f"\r\n--{mark}--\r\n".encode(),
        ])
        path = f"/upload/storage/v1/b/{bucket}/o?" + urlencode({"uploadType": "multipart", **self.conditions()})
        return self.call("POST", path, body, {"content-type": f"multipart/related; boundary={mark}"})

    def stored(self, status, headers, body):
        """The answer to a write: the JSON object's generation and ETag become headers."""
        if status != 200:
            return self.reply(status, headers, body)
        made = json.loads(body)
        return self.reply(200, {"etag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}, b"")

    def copy(self, bucket, key):
        """A read and a conditional write: the JSON API's rewrite ignores ifGenerationMatch on this server."""
        source, _, name = self.headers["x-goog-copy-source"].lstrip("/").partition("/")
        status, headers, body = self.download(source, quote(unquote(name), safe=""))
        if status != 200:
            return self.reply(status, headers, body)
        return self.stored(*self.insert(bucket, key, body, {name.lower(): value for name, value in headers.items()}))

    def multipart(self, bucket, key):
        name = self.query.get("uploadId", "")
        if self.command == "POST" and not name:
            name = secrets.token_hex(16)
            with self.lock:
                self.uploads[name] = (self.headers, {})
            return self.xml(f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>")
        with self.lock:
            headers, parts = self.uploads.get(name, (None, None))
        if parts is None:
            return self.reply(404, b"no such upload")
        if self.command == "PUT":
            parts[int(self.query["partNumber"])] = self.body
            return self.reply(200, {"etag": etag(self.body)}, b"")
        if self.command == "POST":
            return self.complete(bucket, key, name, headers, parts)
        with self.lock:
            self.uploads.pop(name, None)
        return self.reply(204, b"")

    def complete(self, bucket, key, name, meta, parts):
        listed = re.findall(r"<Part>.*?</Part>", self.body.decode(), re.DOTALL)
        content = []
        for part in listed:
            number, tag = re.search(r"<PartNumber>(\d+)<", part), re.search(r"<ETag>(.*?)<", part)
            held = parts.get(int(number.group(1))) if number else None
            if held is None or not tag or tag.group(1).replace("&quot;", '"') != etag(held):
                return self.reply(400, b"<Error><Code>InvalidPart</Code></Error>")
            content.append(held)
        status, headers, body = self.insert(bucket, key, b"".join(content), meta)
        if status != 200:
            return self.reply(status, headers, body)
        with self.lock:
            self.uploads.pop(name, None)
        made = json.loads(body)
        text = f"<CompleteMultipartUploadResult><ETag>&quot;{made['etag']}&quot;</ETag></CompleteMultipartUploadResult>"
        return self.xml(text, {"x-goog-generation": made["generation"]})

    def list(self, bucket):
        wanted = {"prefix": "prefix", "delimiter": "delimiter", "max-keys": "maxResults", "continuation-token": "pageToken"}
        query = {json_name: self.query[name] for name, json_name in wanted.items() if self.query.get(name)}
        after = self.query.get("start-after")
        if after:
            query["startOffset"] = after  # inclusive there, exclusive here
        status, headers, body = self.call("GET", f"/storage/v1/b/{bucket}/o?" + urlencode(query))
        if status != 200:
            return self.reply(status, headers, body)
        found = json.loads(body)
        text = [f"<ListBucketResult><Name>{escape(unquote(bucket))}</Name>"]
        for item in found.get("items") or []:
            if item["name"] != after:
                text.append(
                    f"<Contents><Key>{escape(item['name'])}</Key><Size>{item['size']}</Size>"
                    f"<LastModified>{item['updated']}</LastModified><ETag>&quot;{item['etag']}&quot;</ETag></Contents>"
                )
        text += [f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>" for prefix in found.get("prefixes") or []]
        if found.get("nextPageToken"):
            text.append(f"<NextContinuationToken>{escape(found['nextPageToken'])}</NextContinuationToken>")
        return self.xml("".join(text) + "</ListBucketResult>")

    def call(self, method, path, body=b"", headers=None):
        skipped = OWN | {"host", "content-length", "accept-encoding"}
        sent = {name: value for name, value in (headers or {}).items() if name.lower() not in skipped}
        self.backend.request(method, path, body=body, headers={**sent, "accept-encoding": "gzip"})  # the bytes as they are stored
        answer = self.backend.getresponse()
        return answer.status, dict(answer.headers), answer.read()

    def xml(self, text, headers=None):
        body = b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode()
        self.reply(200, {**(headers or {}), "content-type": "application/xml"}, body)

    def reply(self, status, headers, body=None):
        headers, body = ({}, headers) if body is None else (headers, body)
        self.send_response(status)
        length = len(body)
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in OWN | {"content-length"}:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("content-length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def etag(content):
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True  # ports that linger in TIME_WAIT only; a live listener still refuses


def main():
    program, port, backend_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listener = Listener((HOST, port), Front)
    options = ["-scheme", "http", "-host", HOST, "-port", str(backend_port), "-backend", "memory", "-log-level", "warn"]
    backend = subprocess.Popen([program, *options], stdin=subprocess.DEVNULL)
    Front.backend_port = backend_port
    # Asked to end: ends its child first, and then itself by the thread below, so that nothing is left unreaped.
    signal.signal(signal.SIGTERM, lambda *_: backend.terminate())
    threading.Thread(target=lambda: os._exit(backend.wait() or 1), daemon=True).start()
    listener.serve_forever()


if __name__ == "__main__":
    main()
