"""Call through the gateway's asynchronous queue, and hear of the results by callback.

    python examples/async_queue.py [TOPIC]

The gateway posts each result to $CALLBACK_URL, which must lead here from where the gateway runs.
Without it: a free port of 127.0.0.1, which is right for a gateway on this machine.
"""

import contextlib
import os
import sys
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread
from urllib.parse import urlsplit

from faas_connector import BasicAuth, ControllerConfig, Invocation
from faas_connector.sync import Controller

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")
CALLBACK_URL = os.environ.get("CALLBACK_URL")

results = SimpleQueue[tuple[str, str, bytes]]()


class Callback(BaseHTTPRequestHandler):
    timeout = 10.0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        results.put((self.headers["X-Call-Id"], self.headers["X-Function-Status"], body))
        self.send_response(200)
        self.end_headers()


@contextlib.contextmanager
def callbacks() -> Generator[str]:
    """Listen for callbacks; gives the URL to post them to."""
    address = ("", urlsplit(CALLBACK_URL).port or 80) if CALLBACK_URL else ("127.0.0.1", 0)
    with ThreadingHTTPServer(address, Callback) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield CALLBACK_URL or f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def main(topic: str) -> None:
    with callbacks() as url:
        config = ControllerConfig(
            gateway_url=GATEWAY,
            auth=BasicAuth.from_env(),
            invocation=Invocation.ASYNC,
            callback_url=url,
        )
        with Controller(config) as controller:
            responses = controller.invoke(topic, b"hello")
        for response in responses:
            print(f"{response} {response.call_id}", flush=True)
        waiting = {response.call_id: response.function for response in responses if response.ok}
        while waiting:
            call_id, status, body = results.get()
            # The queue may run a call, and call back, more than once.
            if function := waiting.pop(call_id, None):
                print(f"{function} answered {status}: {body!r}", flush=True)


with contextlib.suppress(KeyboardInterrupt):
    main(sys.argv[1] if len(sys.argv) > 1 else "payment.received")
