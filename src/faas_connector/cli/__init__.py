"""The command `faas-connector`."""

from faas_connector.cli.app import main

__all__ = ["main"]
