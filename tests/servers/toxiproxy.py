"""Toxiproxy: connections that are slow, narrow, cut or silent. What it shall stand before is told to its HTTP interface."""

from support import HOST, Server, go_install, request

MODULE = "github.com/Shopify/toxiproxy/v2"


class Toxiproxy(Server):
    name = "toxiproxy"
    version = "v2.12.0"

    def install(self, folder):
        return go_install(folder, f"{MODULE}/cmd/server", MODULE, self.version)

    def command(self, program, data, port, secrets):
        return [program, "-host", HOST, "-port", port], {"LOG_LEVEL": "error"}

    def ready(self, port):
        # Built from its module it tells no version.
        return request(port, "GET", "/version")[0] == 200

    def env(self, port, secrets):
        return {"RESTOW_TEST_TOXIPROXY": f"http://{HOST}:{port}"}
