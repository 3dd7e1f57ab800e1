"""NATS: what is published to subjects, while we listen."""

from faas_connector.sources.nats.source import NatsSource

__all__ = ["NatsSource"]
