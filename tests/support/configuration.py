"""Whole configurations, for tests that need only a few settings."""

from typing import Any

from smartrelay.config import Config, Relay


def configuration(spool: str, *relays: Relay, **settings: Any) -> Config:
    """The configuration of host.example.org with this spool; the rest as in a file that says nothing of it."""
    return Config("/c.toml", spool, True, "host.example.org", "example.org", 1 << 20, 100, 0, relays, **settings)
