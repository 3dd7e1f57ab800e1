"""What operators see of a run: health, metrics."""
