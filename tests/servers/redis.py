"""redis-server, which writes down each command before it answers."""

from .base import Server


class RedisServer(Server):
    """Started in hundredths of a second."""

    package = binary = "redis-server"

    def command(self):
        return [
            self.program, "--port", f"{self.port}", "--bind", self.host, "--dir", f"{self.folder}",
            "--save", "", "--appendonly", "yes", "--appendfsync", "always",
        ]  # fmt: skip

    @property
    def url(self):
        return f"redis://{self.address}"
