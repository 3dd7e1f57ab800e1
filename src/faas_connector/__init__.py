"""Event connectors for OpenFaaS."""
