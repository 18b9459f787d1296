"""The rivals' queues: each is filled without being timed, and flushed to a sink on loopback."""
