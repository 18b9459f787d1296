"""Enqueueing: a message from standard input, safely into the spool.

After `enqueue` returns an id, the message is on disk for good; when it raises, nothing is in `new/`.

On the enqueue path: `posix` only; `pwd` when the caller's name is needed.
"""

import posix

from smartrelay.errors import AddressError, DataError, NoInput, UnknownUser, UsageError
from smartrelay.mail import address, header
from smartrelay.settings import Settings
from smartrelay.spool import access
from smartrelay.submit.options import Options
from smartrelay.submit.submission import Submission

_BLOCK = 1 << 16
_LINE_END = 4
"""Carriage returns before a line feed that are taken for part of the line end; more of them are text."""

_NOT_OPEN = 9
"""EBADF: standard input is closed, or only to be written to."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def enqueue(options: Options, settings: Settings) -> str:
    """Puts the message on standard input into the spool; returns its queue id. Root is root again afterwards only if an
    attempt at the keyboard follows, which reads what only root may read.

    Raises SmartRelayError with the sentence for the caller; nothing was accepted then.
    """
    submission = _Command(options, settings, posix.getuid())
    submission.named_recipients()
    if not options.at_keyboard:
        return submission.take(_normalised(options.dot_ends))
    groups = posix.getgroups()
    one = submission.take(_normalised(options.dot_ends))
    access.leave(groups)
    return one


def drain() -> None:
    """Reads standard input to its end, so that a caller in mid-write is not killed by SIGPIPE before it sees our exit code."""
    try:
        if not posix.isatty(0):
            while posix.read(0, _BLOCK):
                pass
    except OSError:
        pass


class _Command(Submission):
    """The message on standard input, as the command line wants it."""

    def __init__(self, options: Options, settings: Settings, uid: int) -> None:
        super().__init__(settings, uid, f"by {settings.hostname} (smartrelay, from userid {uid})")
        self.options = options
        self.ret, self.envid, self.passed_on = options.ret, options.envid, options.passed_on
        self.login = ""

    def named_recipients(self) -> None:
        """Checks sender and operands before anything is read: a usage error needs no message."""
        sender = self.options.sender
        if sender is None:
            self.login = _login(self.uid)
            self.sender = address.qualified(address.canonical(self.login), self.settings.domain)
        else:
            parsed = header.addresses(sender) if sender not in ("", "<>") else [""]
            if len(parsed) != 1:
                raise AddressError(f"the sender (-f) must be one address, not {sender!a}")
            self.sender = address.qualified(parsed[0], self.settings.domain) if parsed[0] else ""
        for operand in self.options.operands:
            self.add(header.addresses(operand), self.options.notify)
        if not self.recipients and not self.options.from_header:
            raise UsageError("no recipients; name them on the command line, or use -t to take them from the header")

    def take(self, pieces: "Iterator[bytes]") -> str:
        """Reads the message and commits it."""
        try:
            for piece in pieces:
                self.write(piece)
            return self.commit()
        except BaseException:
            self.discard()
            raise

    def _judge(self, found: list[header.Field]) -> None:
        if self.options.from_header:
            self.add(header.recipients(found), self.options.notify)
        if not self.recipients:
            raise UsageError("no recipients: the header has no To, Cc or Bcc with an address")

    def _enter(self) -> None:
        access.enter(self.settings.spool, direct=self.settings.direct, for_good=not self.options.at_keyboard)

    def _author(self) -> str:
        """Full name and sender (RFC 6409 section 8.2)."""
        from smartrelay.mail.display_name import phrase
        from smartrelay.settings import environment

        login = self.login or (_login(self.uid) if not self.sender else "")
        mailbox = self.sender or address.qualified(address.canonical(login), self.settings.domain)
        name = self.options.full_name or environment("NAME") or (_full_name(self.uid) if self.login else "")
        shown = phrase(name)
        return f"{shown} <{mailbox}>" if shown else mailbox


def _normalised(dot_ends: bool) -> "Iterator[bytes]":
    """Standard input in blocks with LF line ends; ends before a lone dot when that ends the message, the rest is drained."""
    held, line_start = b"", True
    while True:
        try:
            block = posix.read(0, _BLOCK)
        except OSError as error:
            why = f"cannot read the message from standard input: {error.strerror}; nothing was accepted"
            raise (NoInput if error.errno == _NOT_OPEN else DataError)(why) from error
        text = held + block
        held = b""
        if b"\r" in text:
            if block:
                stripped = max(len(text) - _LINE_END, len(text.rstrip(b"\r")))
                text, held = text[:stripped], text[stripped:]
            for _ in range(_LINE_END):
                text = text.replace(b"\r\n", b"\n")
        if dot_ends:
            at_once = line_start and text.startswith(b".\n")
            end = 0 if at_once else text.find(b"\n.\n") + 1
            if at_once or end:
                yield text[:end]
                drain()
                return
            if (line_start and text == b".") or text.endswith(b"\n."):
                text = text[:-1]
                held = b"." + held if block else b""
        if text:
            line_start = text.endswith(b"\n")
            yield text
        if not block:
            return


def _login(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise UnknownUser(f"uid {uid} has no name on this host; give the sender with -f") from None


def _full_name(uid: int) -> str:
    """The caller's name as the password file has it: up to the first comma, `&` for the login."""
    import pwd

    user = pwd.getpwuid(uid)
    return user.pw_gecos.partition(",")[0].replace("&", user.pw_name.capitalize())
