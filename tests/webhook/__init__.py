"""Sources over HTTP, over real sockets."""
