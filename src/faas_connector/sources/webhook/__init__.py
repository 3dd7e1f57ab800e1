"""Sources over HTTP: webhooks, and CloudEvents."""

from faas_connector.sources.webhook.cloudevents import CloudEventsSource
from faas_connector.sources.webhook.source import WebhookSource

__all__ = ["CloudEventsSource", "WebhookSource"]
