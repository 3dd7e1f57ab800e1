r"""Send each line of standard input as an event, without an event loop.

    printf 'one\ntwo\n' | python examples/blocking_client.py payment.received

Ends with status 1 if a line reached no function, or one did not answer 2xx.
"""

import contextlib
import os
import sys

from faas_connector import BasicAuth, ControllerConfig
from faas_connector.sync import Controller

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")


def main(topic: str) -> bool:
    done = True
    with Controller(ControllerConfig(gateway_url=GATEWAY, auth=BasicAuth.from_env())) as controller:
        for line in sys.stdin:
            responses = controller.invoke(topic, line.rstrip("\n"))
            for response in responses:
                print(response, flush=True)
            done = done and bool(responses) and all(response.ok for response in responses)
    return done


with contextlib.suppress(KeyboardInterrupt):
    sys.exit(0 if main(sys.argv[1] if len(sys.argv) > 1 else "payment.received") else 1)
