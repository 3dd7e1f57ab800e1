"""The only code that knows the gateway's HTTP contract."""
