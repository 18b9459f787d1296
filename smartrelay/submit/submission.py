"""One message on its way into the spool, whoever brings it: the sendmail command or an SMTP session.

The text is pushed piece by piece and never held whole: the header in memory (it is completed), the body in blocks. Nothing is
looked up anywhere but in the settings; what to do with the message is decided by the passes.

On the enqueue path: `posix` and `time` only.
"""

import posix
import time

from smartrelay.errors import NoSpace, NotTheOwner, SmartRelayError, SpoolError, TooLarge, TooManyRecipients
from smartrelay.mail import header
from smartrelay.mail.address import identity
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.settings import Settings
from smartrelay.spool import queue_id
from smartrelay.spool.durable import Draft, remove
from smartrelay.submit import completion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smartrelay.submit.aliases import Expansion
    from smartrelay.submit.hand_over import HandOver


def check_space(settings: Settings, wanted: int = 0) -> None:
    """Raises NoSpace where the spool's file system would have less than min_free_space left. wanted: octets to come."""
    space = posix.statvfs(settings.spool)
    free = space.f_bavail * space.f_frsize
    if free - wanted < settings.min_free_space:
        raise NoSpace(
            f"the file system of the spool {settings.spool} has {free >> 20} MiB free, less than min_free_space "
            f"({settings.min_free_space >> 20} MiB); nothing was accepted"
        )


class Submission:
    """One message on its way in: its recipients, its text piece by piece (LF line ends), then `commit` or `discard`.

    The header is kept until it is whole, and completed; from then on pieces go to the disk. Whatever is raised is a
    SmartRelayError with the sentence for whoever hands it in; nothing is in `new/` then. uid: whose message it is. trace: how
    it came, for its Received field. hello: what whoever brings it is called, "" for this host. passed_on: it did not begin
    here.

    A local recipient is replaced by those who get its mail (`aliases`), once this process is the spool's owner. Who may not
    write to the spool hands the message over to a process that may (`hand_over`), by the same three calls.
    """

    passed_on = False
    is_owner = False
    """Whether this process may write to the spool already: then a local name that nobody reads is refused when it is named."""

    def __init__(self, settings: Settings, uid: int, trace: str, hello: str = "") -> None:
        self.settings = settings
        self.hello = hello or settings.hostname
        self.uid = uid
        self.trace = trace
        self.sender = self.ret = self.envid = ""
        self.recipients: list[Recipient] = []
        self.queue_id = ""
        self._seen: set[str] = set()
        self._has_local = False
        self._aliases: Expansion | None = None
        self._mailboxes: dict[str, list[str]] = {}
        self._text = bytearray()
        self._started = False
        self._boundary = header.Boundary()
        self._draft: Draft | HandOver | None = None

    def add(self, addresses: list[str], notify: str = "", orcpt: str = "") -> None:
        """More recipients, as canonical addresses or local names; each counts once."""
        for one in addresses:
            if completion.is_local(one, self.settings):
                self._has_local = True
                if self.is_owner:
                    self._readers(one)
            self._add(one, notify, orcpt)

    def _add(self, one: str, notify: str, orcpt: str) -> None:
        key = identity(one)
        if key in self._seen:
            return
        if len(self.recipients) >= self.settings.max_recipients:
            raise TooManyRecipients(
                f"more than {self.settings.max_recipients} recipients (max_recipients); nothing was accepted"
            )
        self._seen.add(key)
        self.recipients.append(Recipient(one, notify, orcpt))

    def _readers(self, local: str) -> list[str]:
        """Who gets the mail of a local name. Raises NoMailbox, ConfigError, TryAgain (`aliases.Expansion.of`)."""
        if self._aliases is None:
            from smartrelay.submit.aliases import Expansion

            self._aliases = Expansion(self.settings)
        if local not in self._mailboxes:
            self._mailboxes[local] = self._aliases.of(local)
        return self._mailboxes[local]

    def _replace_local(self) -> None:
        """Puts those into the place of each local recipient who get its mail; its wishes for notices are theirs then."""
        named, self.recipients, self._seen = self.recipients, [], set()
        for one in named:
            local = completion.is_local(one.address, self.settings)
            for address in self._readers(one.address) if local else [one.address]:
                self._add(address, one.notify, one.orcpt)

    def write(self, piece: bytes | bytearray) -> None:
        """A piece of the text, cut anywhere."""
        draft = self._draft
        if draft is None:
            if self._header_ends(piece):
                self._open()
            return
        try:
            draft.write(piece)
        except OSError as error:
            raise _failed(error, self.settings.spool) from error
        if draft.text_octets > self.settings.max_message_size:
            raise TooLarge(
                f"the message is larger than max_message_size ({self.settings.max_message_size} octets); nothing was accepted"
            )

    def commit(self) -> str:
        """The text has ended: the message is on disk for good; its queue id."""
        if self._draft is None:
            if not self._started:
                del self._text[: header.without_from_line(self._text)]
            self._boundary.found(self._text, eof=True)
            self._open()
        draft = self._draft
        assert draft is not None
        try:
            draft.commit()
        except OSError as error:
            raise _failed(error, self.settings.spool) from error
        return draft.queue_id

    def discard(self) -> None:
        """Leaves nothing of the message; harmless after `commit`."""
        if self._draft is not None:
            self._draft.discard()
        elif self.queue_id:  # a signal may have come between the making of the file and its name here
            remove(f"{self.settings.spool}/tmp/{self.queue_id}")

    def _header_ends(self, piece: bytes | bytearray) -> bool:
        """Whether the header is whole with this piece."""
        text = self._text
        text += piece
        if not self._started:
            cut = header.without_from_line(text)
            rest = len(text) - cut
            # those that are whole are dropped at once: there may be any number of them
            del text[: cut if rest else text.rfind(b"\n") + 1]
            if 0 < rest < 8:
                return False  # too short to tell a `From ` line
            self._started = bool(rest)
        if self._started and self._boundary.found(text, eof=False):
            return True
        if len(text) > header.LONGEST_HEADER:
            raise _header_too_long()
        return False

    def _open(self) -> None:
        """The header is whole: it is completed, and the draft begins."""
        end, body = self._boundary.end or 0, self._boundary.body or 0
        text, self._text = self._text, bytearray()
        found = header.fields(text[:end])
        self._judge(found)
        now = time.time()
        self.queue_id = queue_id.new(int(now * 1e6), posix.urandom(6))
        local = time.localtime(now)
        date = header.date(tuple(local), local.tm_gmtoff)
        kept, message_id = self._complete(found, date)
        if len(kept) > header.LONGEST_HEADER:  # complete addresses may be many times longer
            raise _header_too_long()
        trace = f"Received: {self.trace}\n\tid {self.queue_id}; {date}\n".encode("ascii", "replace")
        if self._has_local:
            import smartrelay.submit.aliases  # noqa: F401
        # as late as this: before, root's rights may be needed to import what header and recipients asked for
        try:
            self._enter()
            if self._has_local:
                self._replace_local()
            check_space(self.settings)
            self._draft = Draft(self.settings.spool, self.queue_id, self._envelope(now, message_id))
        except NotTheOwner as refusal:
            if not self.settings.submit_socket:
                raise
            from smartrelay.submit.hand_over import HandOver

            # whoever takes it knows the aliases, and writes down how it came
            trace = b""
            self._draft = HandOver(
                self.settings, self.hello, self._envelope(now, message_id), refusal, passed_on=self.passed_on
            )
        except OSError as error:
            raise _failed(error, self.settings.spool) from error
        self.write(trace + kept)
        self.write(text[body:])

    def _envelope(self, now: float, message_id: str) -> Envelope:
        return Envelope(self.sender, self.recipients, now, self.uid, message_id, self.ret, self.envid)

    def _judge(self, found: list[header.Field]) -> None:
        """Looks at the fields before anything is made of them."""

    def _enter(self) -> None:
        """Becomes the spool's owner, where that has not been done. Raises NotTheOwner where that cannot be."""

    def _complete(self, found: list[header.Field], date: str) -> tuple[bytes, str]:
        """The header as it is stored below its Received field, with the empty line behind it, and its Message-ID."""
        message_id = completion.message_id_of(found)
        if self.passed_on:
            kept = completion.passed_on(found)
        else:
            own = f"<{self.queue_id}@{self.settings.hostname}>"
            kept = completion.completed(found, date, own, self.settings.domain, self._author)
            message_id = message_id or own
        return kept + b"\n", "".join(char if " " < char < "\x7f" else "?" for char in message_id[:250])

    def _author(self) -> str:
        """The From field of a message without one."""
        return self.sender or f"MAILER-DAEMON@{self.settings.domain}"


def _header_too_long() -> TooLarge:
    return TooLarge(f"the header of the message is longer than {header.LONGEST_HEADER >> 20} MiB; nothing was accepted")


def _failed(error: OSError, spool: str) -> SmartRelayError:
    """A failed write in words: full is for trying again, anything else is the disk's fault."""
    text = f"cannot write to the spool {spool}: {error.strerror}; nothing was accepted"
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return NoSpace(text)
    return SpoolError(text)
