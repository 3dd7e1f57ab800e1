"""RabbitMQ: a node of its own name, with an epmd of its own."""

import base64
import hashlib
import json
import os
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiormq
import pytest

from .base import Server, binary_of

USER, PASSWORD = "reader", "s3cret-rabbit"
CONFIG = """
listeners.tcp.1 = {host}:{port}
listeners.ssl.1 = {host}:{tls_port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
load_definitions = {folder}/definitions.json
disk_free_limit.absolute = 1MB
log.console.level = warning
"""


def _user(name, password):
    salt = b"salt"
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest())
    return {
        "name": name, "password_hash": digest.decode(), "tags": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }  # fmt: skip


class RabbitMqServer(Server):
    """One node, with a plain port and one with TLS; user `reader` may use queues `open…` only."""

    package = "rabbitmq-server"

    def __init__(self, folder, ca):
        super().__init__(folder)
        self._epmd = None
        self._epmd_port, self._dist_port = self.another_port(), self.another_port()
        self.tls_port = self.another_port()
        self.node = f"r{self.port}@localhost"
        self.url = f"amqp://{self.address}"
        self.tls_url = f"amqps://{self.host}:{self.tls_port}"
        config = CONFIG.format(
            host=self.host, port=self.port, tls_port=self.tls_port, folder=self.folder
        )
        (self.folder / "rabbitmq.conf").write_text(config)
        (self.folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].")
        (self.folder / "definitions.json").write_text(json.dumps(self._definitions()))
        self._certify(ca)

    def _definitions(self):
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "users": [_user("guest", "guest"), _user(USER, PASSWORD)],
            "vhosts": [{"name": "/"}, {"name": "closed"}],
            "permissions": [
                {"user": "guest", "vhost": "/", **everything},
                {"user": USER, "vhost": "/", **dict.fromkeys(everything, "^open.*")},
            ],
        }

    def _certify(self, ca):
        ca.cert_pem.write_to_path(self.folder / "ca.pem")
        own = ca.issue_cert("127.0.0.1", "localhost")
        own.private_key_pem.write_to_path(self.folder / "server.key")
        (self.folder / "server.pem").write_bytes(own.cert_chain_pems[0].bytes())
        client = ca.issue_cert("reader@example.com", common_name=USER)
        client.private_key_and_cert_chain_pem.write_to_path(self.folder / "client.pem")

    def find(self):
        binary_of(self.package, "rabbitmq-server")
        # The one in the path is a wrapper that changes the user.
        program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        if not program.exists():
            what = f"there is no {program}; install it with: apt-get install {self.package}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
        return str(program)

    def command(self):
        return [self.program]

    def environ(self):
        args = (
            "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false "
            "-kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 200 "
            "-rabbit quorum_tick_interval 200"
        )
        own = {
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": args,
            # The script then becomes the node, so that a signal reaches it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "HOME": self.folder,
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": self.host,
        }
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

    def launch(self):
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                [binary_of("erlang-base", "epmd"), "-port", str(self._epmd_port), "-address",
                 self.host],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        super().launch()

    def answers(self):
        with socket.create_connection((self.host, self.port), timeout=1.0) as found:
            found.sendall(b"AMQP\x00\x00\x09\x01")
            return found.recv(1) == b"\x01"

    def __exit__(self, *_):
        super().__exit__()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def evaluate(self, expression):
        """What an Erlang expression gives on the node."""
        code = (
            f'{{ok, T, _}} = erl_scan:string("{expression}."), '
            "{ok, E} = erl_parse:parse_exprs(T), "
            f"{{value, R, _}} = rpc:call('{self.node}', erl_eval, exprs, [E, []]), "
            'io:format("~p", [R]), halt().'
        )
        done = subprocess.run(
            ["erl", "-noinput", "-hidden", "-sname", f"asks{os.getpid()}@localhost", "-eval", code],
            env=self.environ(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def write_down(self):
        """Have it write what it knows of its queues, which it does a moment later by itself.

        A quorum queue that is killed within that moment comes back empty, and without a leader.
        """
        self.evaluate("[dets:sync(Table) || Table <- dets:all()]")

    @asynccontextmanager
    async def channel(self, **options):
        """What tests publish and look with."""
        connection = await aiormq.connect(self.url)
        try:
            yield await connection.channel(**options)
        finally:
            await connection.close()
