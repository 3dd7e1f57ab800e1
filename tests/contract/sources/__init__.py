"""Every source keeps the contract of sources, and the suite notices who does not."""
