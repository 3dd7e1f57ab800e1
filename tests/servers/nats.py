"""nats-server, with JetStream."""

import socket

from .base import Server


class NatsServer(Server):
    """Started in hundredths of a second; `config` is further lines of its configuration."""

    package = binary = "nats-server"

    def __init__(self, folder, *, config=""):
        super().__init__(folder)
        self.config = config

    def command(self):
        file = self.folder / "nats.conf"
        file.write_text(
            f'listen: "{self.address}"\njetstream {{store_dir: "{self.folder}/data"}}\n'
            f"{self.config}\n"
        )
        return [self.program, "-c", str(file)]

    def answers(self):
        with socket.create_connection((self.host, self.port), timeout=1.0) as found:
            return found.recv(5) == b"INFO "

    @property
    def url(self):
        return f"nats://{self.address}"
