"""Pending stores that come with this package."""
