"""fake-gcs-server, a Google Cloud Storage server without authentication, behind gcs_front.py (which says why).

ifGenerationMatch is honoured (412).
"""

import json
import sys
from pathlib import Path

from support import BUCKET, HOST, Server, expect, free_port, go_install, request


class FakeGcs(Server):
    name = "fake-gcs-server"
    version = "v1.56.1"

    def install(self, folder):
        return go_install(folder, "github.com/fsouza/fake-gcs-server", "github.com/fsouza/fake-gcs-server", self.version)

    def command(self, program, data, port, secrets):
        return [sys.executable, "-u", Path(__file__).with_name("gcs_front.py"), program, port, free_port()], {}

    def ready(self, port):
        return request(port, "GET", "/storage/v1/b?project=restow")[0] == 200

    def prepare(self, port, secrets):
        # Versioned, so that an older generation can be read, as object_store's own tests do.
        body = json.dumps({"name": BUCKET, "versioning": {"enabled": True}}).encode()
        headers = {"content-type": "application/json"}
        expect("create bucket", request(port, "POST", "/storage/v1/b?project=restow", headers, body), 200)

    def env(self, port, secrets):
        # A service account without OAuth is the only way to have object_store ask nobody for a token.
        account = {"gcs_base_url": f"http://{HOST}:{port}", "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        settings = f"GOOGLE_SERVICE_ACCOUNT_KEY={json.dumps(account, separators=(',', ':'))} GOOGLE_ALLOW_HTTP=true"
        return {"RESTOW_TEST_GS": f"gs://{BUCKET}", "RESTOW_TEST_GS_SETTINGS": settings}
