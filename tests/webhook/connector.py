"""A durable webhook in a process of its own: `connector.py FOLDER GATEWAY LISTEN`."""

import logging
import sys
from pathlib import Path

from faas_connector import ControllerConfig, Limits, RetryPolicy, run
from faas_connector.sources.webhook import WebhookSource


def main():
    folder, url, listen = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    run(
        WebhookSource(
            listen=listen,
            topics=("orders",),
            durable=True,
            delivery_header="X-Id",
            duplicate_window=3600.0,
        ),
        config=ControllerConfig(
            gateway_url=url,
            retry=RetryPolicy(min_wait=0.05, max_wait=0.2),
            limits=Limits(max_in_flight=32),
        ),
        state=folder,
        state_wait=10,
    )


if __name__ == "__main__":
    main()
