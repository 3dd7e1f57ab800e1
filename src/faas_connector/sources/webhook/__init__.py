"""Sources over HTTP: webhooks, and CloudEvents."""

from faas_connector.sources.webhook.source import WebhookSource

__all__ = ["WebhookSource"]
