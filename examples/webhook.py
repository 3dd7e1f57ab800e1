"""Turn HTTP requests into events: what is posted to /TOPIC goes to the functions of that topic.

    python examples/webhook.py            # listens on 127.0.0.1:8081; another port: webhook.py 9000
    curl -d hello http://127.0.0.1:8081/payment.received

The sender gets 200 when every function took the event, and may send it again on 502. Check a
signature before you let the world in.
"""

import contextlib
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from faas_connector import BasicAuth, ConfigError, ControllerConfig
from faas_connector.sync import Controller

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")
MOST_BYTES = 1024 * 1024


class Webhook(BaseHTTPRequestHandler):
    controller: Controller
    timeout = 10.0

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.answer(411, "say how long the body is\n")
        elif int(length) > MOST_BYTES:
            self.answer(413, f"at most {MOST_BYTES} bytes\n")
        else:
            self.deliver(unquote(urlsplit(self.path).path)[1:], self.rfile.read(int(length)))

    def deliver(self, topic: str, body: bytes) -> None:
        try:
            responses = self.controller.invoke(
                topic, body, content_type=self.headers.get("Content-Type")
            )
        except ConfigError as error:
            self.answer(400, f"{error}\n")
            return
        outcome = "".join(f"{response}\n" for response in responses)
        if not responses:
            self.answer(404, f"no function asks for {topic!r}\n")
        elif all(response.ok for response in responses):
            self.answer(200, outcome)
        else:
            self.answer(502, outcome)

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


def main(port: int) -> None:
    config = ControllerConfig(gateway_url=GATEWAY, auth=BasicAuth.from_env())
    with (
        Controller(config) as controller,
        ThreadingHTTPServer(("127.0.0.1", port), Webhook) as server,
    ):
        Webhook.controller = controller
        server.daemon_threads = False  # Ctrl-C lets running requests end
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8081)
