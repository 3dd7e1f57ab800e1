"""JetStream: what a stream of NATS holds, pulled and acknowledged one by one."""

from faas_connector.sources.jetstream.source import JetStreamSource

__all__ = ["JetStreamSource"]
