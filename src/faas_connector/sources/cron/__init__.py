"""Cron: events made by schedules, those of functions and those of the settings."""

from faas_connector.sources.cron.source import CronSource, Overlap

__all__ = ["CronSource", "Overlap"]
