"""The functions that the stub gateway lists."""

from __future__ import annotations

import json

NAMESPACE = "openfaas-fn"
WAITS = (0, 10, 100)
"""Milliseconds that functions take; `wait-10-1` takes 10. It asks for `wait.10` and `fan.10`."""
FAN_OUT = 3
"""Functions that ask for each `fan` topic."""


def listing(count: int, version: int = 0) -> bytes:
    """`count` functions and those that wait, as `GET /system/functions` answers.

    From one version to the next, one function in a hundred asks for another topic.
    """
    waiting = [
        (f"wait-{wait}-{number}", f"wait.{wait},fan.{wait}" if number == 1 else f"fan.{wait}")
        for wait in WAITS
        for number in range(1, FAN_OUT + 1)
    ]
    others = [
        (f"orders-{number:05}", f"orders.{number}.v{version if number % 100 == 0 else 0}")
        for number in range(count)
    ]
    return json.dumps([_status(name, topic) for name, topic in waiting + others]).encode()


def _status(name: str, topic: str) -> dict[str, object]:
    """With all the fields that the community edition gives for a function of faas-cli."""
    return {
        "name": name,
        "image": f"registry.example/team/{name}:0.4.2",
        "namespace": NAMESPACE,
        "envProcess": "python index.py",
        "labels": {"faas_function": name, "com.openfaas.scale.min": "1", "team": "orders"},
        "annotations": {
            "topic": topic,
            "prometheus.io.scrape": "false",
            "com.openfaas.health.http.path": "/_/ready",
        },
        "limits": {"memory": "128Mi", "cpu": "200m"},
        "requests": {"memory": "64Mi", "cpu": "50m"},
        "invocationCount": 1234,
        "replicas": 1,
        "availableReplicas": 1,
        "createdAt": "2026-11-01T12:00:00Z",
        "usage": {"cpu": 1.5, "totalMemoryBytes": 23068672},
    }
