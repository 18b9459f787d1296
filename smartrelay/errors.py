"""What can go wrong for the operator or the caller, each with its exit code.

Remote behaviour is data (`mail.status`), never one of these. The message of an error is one sentence that says what is
wrong, where, and what to do; the doors (`door`, `cli`) print it and leave with `exit_code` (sysexits.h).

This module is on the enqueue path: it imports nothing.
"""

EX_OK = 0
EX_USAGE = 64
EX_DATAERR = 65
EX_NOINPUT = 66
EX_NOUSER = 67
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_OSERR = 71
EX_CANTCREAT = 73
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78


class SmartRelayError(Exception):
    """The base of all errors that end a command; its text is the sentence for the person."""

    exit_code = EX_SOFTWARE


class UsageError(SmartRelayError):
    """The command line makes no sense."""

    exit_code = EX_USAGE


class DataError(SmartRelayError):
    """The message that was handed in cannot be taken."""

    exit_code = EX_DATAERR


class AddressError(DataError):
    """A mail address that no mailbox can have (RFC 5321 section 4.1.2)."""


class TooLarge(DataError):
    """The message, or its header alone, is larger than may be."""


class TooManyRecipients(DataError):
    """The message has more recipients than one may have."""


class NoInput(SmartRelayError):
    """There is nothing to read the message from."""

    exit_code = EX_NOINPUT


class CannotCreate(SmartRelayError):
    """A file or directory of ours cannot be made."""

    exit_code = EX_CANTCREAT


class SpoolError(SmartRelayError):
    """The spool's file system failed (I/O error, read-only, full during a pass)."""

    exit_code = EX_IOERR


class TryAgain(SmartRelayError):
    """Nothing was accepted or changed; the same call may work later."""

    exit_code = EX_TEMPFAIL


class NoSpace(TryAgain):
    """The spool's file system has no room for what was handed in."""


class NotPermitted(SmartRelayError):
    """The caller may not do this."""

    exit_code = EX_NOPERM


class ConfigError(SmartRelayError):
    """The configuration cannot be used: names file, key and what would be right."""

    exit_code = EX_CONFIG


class NoMailbox(ConfigError):
    """A local name whose mail nobody would get."""


class UnknownUser(SmartRelayError):
    """The caller's uid has no name, and no sender was given."""

    exit_code = EX_OSERR


class NotTheOwner(NotPermitted):
    """The spool is another's, and only its owner and root write to it; who is neither may hand mail over to a process of the
    owner's."""
