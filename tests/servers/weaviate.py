"""Weaviate, the newest and the oldest version that restow supports, each a cluster of one node."""

import contextlib
import json
import secrets as random
import socket

from support import HOST, Failure, Server, free_port, go_install, request

MODULE = "github.com/weaviate/weaviate"


class Weaviate(Server):
    """The newest: API keys and roles (`key` may do everything, `reader` nothing until a test gives it a role), exports and backups."""

    name = "weaviate"
    version = "v1.39.2"
    variable = "RESTOW_TEST_WEAVIATE"
    keys = True

    def install(self, folder):
        return go_install(folder, f"{MODULE}/cmd/weaviate-server", MODULE, self.version)

    def secrets(self):
        # Beside REST, whose port `start` chooses and watches. A cluster on one machine takes the port after the one for gossip
        # and after the one for Raft for granted.
        made = {"grpc": free_port(), "gossip": free_pair(), "raft": free_pair()}
        if self.keys:
            made |= {"key": random.token_hex(16), "reader": random.token_hex(16)}
        return made

    def command(self, program, data, port, secrets):
        return [program, "--scheme", "http", "--host", HOST, "--port", port], self.variables(data, secrets)

    def variables(self, data, secrets):
        """The environment of a node with its data in `data`; a test that kills its own server starts it again with the same."""
        variables = {
            "PERSISTENCE_DATA_PATH": data / "data",
            "ENABLE_MODULES": "backup-filesystem",
            "BACKUP_FILESYSTEM_PATH": data / "backups",
            "EXPORT_ENABLED": "true",
            # Exports do not go where backups go.
            "EXPORT_DEFAULT_PATH": data / "exports",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "API_BASED_MODULES_DISABLED": "true",
            # Backups and the log of the cluster name it: the same at each start.
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_ADVERTISE_ADDR": HOST,
            "CLUSTER_ADVERTISE_PORT": secrets["gossip"],
            "CLUSTER_GOSSIP_BIND_PORT": secrets["gossip"],
            "CLUSTER_DATA_BIND_PORT": secrets["gossip"] + 1,
            "RAFT_PORT": secrets["raft"],
            "RAFT_INTERNAL_RPC_PORT": secrets["raft"] + 1,
            "RAFT_BOOTSTRAP_EXPECT": 1,
            "RAFT_JOIN": f"node1:{secrets['raft']}",
            "GRPC_PORT": secrets["grpc"],
            "GO_PROFILING_DISABLE": "true",
            "PROMETHEUS_MONITORING_ENABLED": "false",
            "DISABLE_TELEMETRY": "true",
            "DISK_USE_READONLY_PERCENTAGE": 100,
            "DISK_USE_WARNING_PERCENTAGE": 100,
            "QUERY_DEFAULTS_LIMIT": 25,
            "LOG_LEVEL": "warning",
        }
        if self.keys:
            variables |= {
                "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
                "AUTHENTICATION_APIKEY_ENABLED": "true",
                "AUTHENTICATION_APIKEY_ALLOWED_KEYS": f"{secrets['key']},{secrets['reader']}",
                "AUTHENTICATION_APIKEY_USERS": "root,reader",
                "AUTHENTICATION_DB_USERS_ENABLED": "true",
                "AUTHORIZATION_RBAC_ENABLED": "true",
                "AUTHORIZATION_RBAC_ROOT_USERS": "root",
            }
        else:
            variables["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] = "true"
        return {name: str(value) for name, value in variables.items()}

    def ready(self, port):
        return request(port, "GET", "/v1/.well-known/ready")[0] == 200

    def prepare(self, port, secrets):
        headers = {"authorization": f"Bearer {secrets['key']}"} if self.keys else {}
        status, _, body = request(port, "GET", "/v1/meta", headers)
        found = json.loads(body).get("version") if status == 200 else f"status {status}"
        if f"v{found}" != self.version:
            raise Failure(f"what answers on port {port} is Weaviate {found}, not {self.version}")

    def env(self, port, secrets):
        found = {self.variable: f"weaviate://{HOST}:{port}", f"{self.variable}_GRPC": f"{HOST}:{secrets['grpc']}"}
        if self.keys:
            found |= {f"{self.variable}_KEY": secrets["key"], f"{self.variable}_READER": secrets["reader"]}
        return found


def free_pair():
    """A port that is free together with the next one."""
    while True:
        port = free_port()
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.bind((HOST, port + 1))
            return port


class OldWeaviate(Weaviate):
    """The oldest: no keys, no aliases, no exports, and the limit of its messages is not told."""

    name = "weaviate-1.27"
    version = "v1.27.27"
    variable = "RESTOW_TEST_WEAVIATE_OLD"
    keys = False
