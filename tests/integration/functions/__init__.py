"""Functions under the local gateway."""
