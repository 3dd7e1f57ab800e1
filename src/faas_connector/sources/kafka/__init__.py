"""Apache Kafka: topics, read as a member of a consumer group."""

from faas_connector.sources.kafka.source import KafkaSource

__all__ = ["KafkaSource"]
