"""MinIO, an S3 server. Honours If-None-Match and If-Match, also at CompleteMultipartUpload (412)."""

import datetime
import hashlib
import hmac
import secrets as random
import time

from support import BUCKET, HOST, Server, expect, go_install, request

REGION = "us-east-1"


class Minio(Server):
    name = "minio"
    version = "v0.0.0-20260212201848-7aac2a2c5b7c"

    def install(self, folder):
        return go_install(folder, "github.com/minio/minio", "github.com/minio/minio", self.version)

    def secrets(self):
        return {"user": "restow-test", "password": random.token_hex(16)}

    def command(self, program, data, port, secrets):
        variables = {
            "MINIO_ROOT_USER": secrets["user"],
            "MINIO_ROOT_PASSWORD": secrets["password"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_REGION": REGION,
        }
        return [program, "server", data / "drive", "--address", f"{HOST}:{port}"], variables

    def ready(self, port):
        status, headers, _ = request(port, "GET", "/minio/health/live")
        return status == 200 and headers.get("x-minio-server-status") != "offline"

    def prepare(self, port, secrets):
        until = time.monotonic() + self.ready_within
        answer = s3(port, secrets, "PUT", f"/{BUCKET}")
        while answer[0] == 503 and time.monotonic() < until:  # it says that it lives before its drive is ready
            time.sleep(0.1)
            answer = s3(port, secrets, "PUT", f"/{BUCKET}")
        expect("create bucket", answer, 200)

    def env(self, port, secrets):
        settings = {
            "AWS_ACCESS_KEY_ID": secrets["user"],
            "AWS_SECRET_ACCESS_KEY": secrets["password"],
            "AWS_ENDPOINT": f"http://{HOST}:{port}",
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }
        return {"RESTOW_TEST_S3": f"s3://{BUCKET}", "RESTOW_TEST_S3_SETTINGS": " ".join(f"{k}={v}" for k, v in settings.items())}


def s3(port, secrets, method, path, body=b"", headers=None, query=""):
    """A request signed with AWS Signature Version 4 (service s3). `path` needs no escaping; `query` is escaped and sorted."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    payload = hashlib.sha256(body).hexdigest()
    signed = {"host": f"{HOST}:{port}", "x-amz-content-sha256": payload, "x-amz-date": stamp}
    names = ";".join(signed)
    canonical = "\n".join([method, path, query, *(f"{k}:{v}" for k, v in signed.items()), "", names, payload])
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secrets['password']}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={secrets['user']}/{scope}, SignedHeaders={names}, Signature={signature}"
    return request(port, method, f"{path}?{query}" if query else path, {**signed, **(headers or {}), "authorization": credential}, body)
