"""How fast faas-connector is, beside its peers: `python -m benchmarks [--quick] [names…]`."""
