"""RabbitMQ: the messages of queues, each acknowledged by itself."""

from faas_connector.sources.rabbitmq.source import RabbitMqSource

__all__ = ["RabbitMqSource"]
