"""Enqueueing: a message from standard input, safely into the spool.

The text is streamed, never held whole: the header in memory (it is completed), the body in blocks. Nothing is looked up
anywhere but in the settings; what to do with the message is decided by the passes. After `enqueue` returns an id, the
message is on disk for good; when it raises, nothing is in `new/`.

On the enqueue path: `posix` and `time` only; `pwd` when the caller's name is needed.
"""

import posix
import time

from smartrelay.errors import (
    EX_OSERR,
    AddressError,
    DataError,
    NoInput,
    SmartRelayError,
    SpoolError,
    TryAgain,
    UsageError,
)
from smartrelay.mail import address, header
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.settings import Settings
from smartrelay.spool import access, queue_id
from smartrelay.spool.durable import Draft, remove
from smartrelay.submit import completion
from smartrelay.submit.options import Options

_BLOCK = 1 << 16
_LINE_END = 4
"""Carriage returns before a line feed that are taken for part of the line end; more of them are text."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class UnknownUser(SmartRelayError):
    """The caller's uid has no name, and no sender was given."""

    exit_code = EX_OSERR


def enqueue(options: Options, settings: Settings) -> str:
    """Puts the message on standard input into the spool; returns its queue id. Root is root again afterwards only if an
    attempt at the keyboard follows, which reads what only root may read.

    Raises SmartRelayError with the sentence for the caller; nothing was accepted then.
    """
    uid = posix.getuid()
    submission = _Submission(options, settings, uid)
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


def _check_space(settings: Settings) -> None:
    space = posix.statvfs(settings.spool)
    free = space.f_bavail * space.f_frsize
    if free < settings.min_free_space:
        raise TryAgain(
            f"the file system of the spool {settings.spool} has {free >> 20} MiB free, less than min_free_space "
            f"({settings.min_free_space >> 20} MiB); nothing was accepted"
        )


class _Submission:
    """One message on its way in: envelope, completed header, body."""

    def __init__(self, options: Options, settings: Settings, uid: int) -> None:
        self.options = options
        self.settings = settings
        self.uid = uid
        self.recipients: list[str] = []
        self.seen: set[str] = set()
        self.has_local = False

    def named_recipients(self) -> None:
        """Checks sender and operands before anything is read: a usage error needs no message."""
        self.login = ""
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
            self._add(header.addresses(operand))
        if not self.recipients and not self.options.from_header:
            raise UsageError("no recipients; name them on the command line, or use -t to take them from the header")

    def _add(self, addresses: list[str]) -> None:
        for one in addresses:
            local, domain = address.split(one)
            if domain is None or domain.lower() in self.settings.own_names:
                self.has_local = True
            key = one if domain is None else f"{local}@{domain.lower()}"
            if key not in self.seen:
                self.seen.add(key)
                self.recipients.append(one)
        self._bound()

    def _bound(self) -> None:
        if len(self.recipients) > self.settings.max_recipients:
            raise DataError(f"more than {self.settings.max_recipients} recipients (max_recipients); nothing was accepted")

    def take(self, pieces: "Iterator[bytes]") -> str:
        """Reads the message and commits it."""
        text, boundary = _read_header(pieces)
        end, body = boundary.end or 0, boundary.body or 0
        found = header.fields(text[:end])
        if self.options.from_header:
            self._add(header.recipients(found))
        if not self.recipients:
            raise UsageError("no recipients: the header has no To, Cc or Bcc with an address")
        now = time.time()
        one = queue_id.new(int(now * 1e6), posix.urandom(6))
        kept, message_id = self._header(found, one, now)
        if self.has_local:
            from smartrelay.submit import aliases
        # as late as this: before, root's rights may be needed to import what the header asked for
        access.enter(self.settings.spool, direct=self.settings.direct, for_good=not self.options.at_keyboard)
        if self.has_local:
            self.recipients = aliases.expanded(self.recipients, self.settings)
            self._bound()
        _check_space(self.settings)
        draft = None
        try:
            draft = self._draft(one, now, message_id)
            draft.write(kept)
            draft.write(text[body:])
            del text
            for piece in pieces:
                draft.write(piece)
                if draft.text_octets > self.settings.max_message_size:
                    raise DataError(
                        f"the message is larger than max_message_size ({self.settings.max_message_size} octets); "
                        "nothing was accepted"
                    )
            draft.commit()
        except BaseException as error:
            if draft is not None:
                draft.discard()
            else:  # a signal may have come between the making of the file and its name here
                remove(f"{self.settings.spool}/tmp/{one}")
            if isinstance(error, OSError):
                raise _failed(error, self.settings.spool) from error
            raise
        return one

    def _draft(self, one: str, now: float, message_id: str) -> Draft:
        options = self.options
        recipients = [Recipient(each, options.notify) for each in self.recipients]
        envelope = Envelope(self.sender, recipients, now, self.uid, message_id, options.ret, options.envid)
        return Draft(self.settings.spool, one, envelope)

    def _header(self, found: list[header.Field], one: str, now: float) -> tuple[bytes, str]:
        """The header as it is stored, with the empty line behind it, and its Message-ID."""
        here = self.settings.hostname
        local = time.localtime(now)
        date = header.date(tuple(local), local.tm_gmtoff)
        trace = f"Received: by {here} (smartrelay, from userid {self.uid})\n\tid {one}; {date}\n".encode("ascii", "replace")
        message_id = completion.message_id_of(found)
        if self.options.passed_on:
            kept = completion.passed_on(found, trace)
        else:
            own = f"<{one}@{here}>"
            kept = completion.completed(found, trace, date, own, self.settings.domain, self._author)
            message_id = message_id or own
        return kept + b"\n", "".join(char if " " < char < "\x7f" else "?" for char in message_id[:250])

    def _author(self) -> str:
        """A From field for a message without one: full name and sender (RFC 6409 section 8.2)."""
        from smartrelay.mail.display_name import phrase
        from smartrelay.settings import environment

        login = self.login or (_login(self.uid) if not self.sender else "")
        mailbox = self.sender or address.qualified(address.canonical(login), self.settings.domain)
        name = self.options.full_name or environment("NAME") or (_full_name(self.uid) if self.login else "")
        shown = phrase(name)
        return f"{shown} <{mailbox}>" if shown else mailbox


def _read_header(pieces: "Iterator[bytes]") -> tuple[bytearray, header.Boundary]:
    """The text up to and a little beyond the end of the header."""
    text = bytearray()
    boundary = header.Boundary()
    started = False
    for piece in pieces:
        text += piece
        if not started and len(text) < 8:
            continue  # too short to tell a `From ` line
        if not started or header.without_from_line(text) == len(text):
            cut = header.without_from_line(text)
            if cut == len(text):
                _bound_header(text)
                continue
            del text[:cut]
            started = True
        if boundary.found(text, eof=False):
            return text, boundary
        _bound_header(text)
    if not started:
        del text[: header.without_from_line(text)]
    boundary.found(text, eof=True)
    return text, boundary


def _bound_header(text: bytearray) -> None:
    if len(text) > header.LONGEST_HEADER:
        raise DataError(f"the header of the message is longer than {header.LONGEST_HEADER >> 20} MiB; nothing was accepted")


def _normalised(dot_ends: bool) -> "Iterator[bytes]":
    """Standard input in blocks with LF line ends; ends before a lone dot when that ends the message, the rest is drained."""
    held, line_start = b"", True
    while True:
        try:
            block = posix.read(0, _BLOCK)
        except OSError as error:
            raise NoInput(f"cannot read the message from standard input: {error.strerror}") from error
        text = held + block
        held = b""
        if b"\r" in text:
            if block:
                stripped = max(len(text) - _LINE_END, len(text.rstrip(b"\r")))
                text, held = text[:stripped], text[stripped:]
            for _ in range(_LINE_END):
                text = text.replace(b"\r\n", b"\n")
        if dot_ends:
            end = 0 if line_start and text.startswith(b".\n") else text.find(b"\n.\n") + 1
            lone = text == b"." if line_start else False
            if end or (line_start and text.startswith(b".\n")):
                yield text[:end]
                drain()
                return
            if lone or text.endswith(b"\n."):
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


def _failed(error: OSError, spool: str) -> SmartRelayError:
    """A failed write in words: full is for trying again, anything else is the disk's fault."""
    text = f"cannot write to the spool {spool}: {error.strerror}; nothing was accepted"
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return TryAgain(text)
    return SpoolError(text)
