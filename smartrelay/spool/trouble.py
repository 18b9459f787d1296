"""What can be wrong with one message of the queue, or with the queue's lock."""

from smartrelay.errors import EX_DATAERR, EX_NOINPUT, SmartRelayError, TryAgain


class NoSuchMessage(SmartRelayError):
    """The queue has no message with that id."""

    exit_code = EX_NOINPUT


class CorruptMessage(SmartRelayError):
    """A spool file cannot be read as a message; it is set aside, never deleted."""

    exit_code = EX_DATAERR


class MessageBusy(TryAgain):
    """The message is being delivered right now."""


class PassInProgress(TryAgain):
    """Another pass holds the lock."""
