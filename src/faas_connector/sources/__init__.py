"""Sources that come with this package; each is found through its entry point."""
