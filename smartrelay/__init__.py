"""smartrelay: the way for a machine to get its mail out, with no mail daemon to run and nothing lost.

The public names are loaded when they are asked for: importing the package costs nothing, which the enqueue path relies on.
"""

__version__ = "0.1.0"

_HOMES = {
    "Queue": "smartrelay.spool.queue",
    "SMTPManagedRelayer": "smartrelay.relay.relayer",
    "ESMTPManagedRelayer": "smartrelay.relay.relayer",
    "ManagedRelayerMixin": "smartrelay.relay.relayer",
    "SMTPManagedRelayerFactory": "smartrelay.relay.factory",
    "ESMTPManagedRelayerFactory": "smartrelay.relay.factory",
    "SmartHostSMTPRelayingManager": "smartrelay.relay.manager",
    "SmartHostESMTPRelayingManager": "smartrelay.relay.manager",
    "RelayStateHelper": "smartrelay.relay.timer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'smartrelay' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
