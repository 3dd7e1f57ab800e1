"""The local gateway: OpenFaaS on a laptop, for development and tests, without a cluster."""
