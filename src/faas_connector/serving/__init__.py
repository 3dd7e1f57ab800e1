"""An HTTP/1.1 server: what the local gateway, sources and the admin port listen with."""
