"""The SMTP server: one session from greeting to end, without a socket (RFC 5321).

Octets in, replies out; how they were cut on their way makes no difference. Messages go to an acceptor, in pieces, and are
never held whole. 250 after the dot is said when the acceptor says that the message is on disk for good, and not before.

Extensions: PIPELINING (RFC 2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), DSN (3461), CHUNKING (3030),
ENHANCEDSTATUSCODES (2034).
"""

from smartrelay.errors import SmartRelayError
from smartrelay.submit import command
from smartrelay.submit.command import BadCommand
from smartrelay.submit.inflow import BadLine, Inflow
from smartrelay.submit.protocol import (
    ALONE,
    CHUNKS,
    EXTENSIONS,
    IDLE,
    NOT_HERE,
    NOT_MAIL,
    OURS,
    OUT_OF_ORDER,
    OVER,
    READY,
    RECIPIENT,
    RECIPIENT_ADDRESS,
    SENDER,
    SENDER_ADDRESS,
    SPOILED,
    START,
    Rules,
    reply_to,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Reception(Protocol):
        """One message on its way in. All raise SmartRelayError with the sentence for the client."""

        def add(self, addresses: list[str], notify: str = "", orcpt: str = "") -> None:
            """One more recipient."""

        def write(self, text: bytes) -> None:
            """A piece of the text, LF line ends, cut anywhere."""

        def commit(self) -> str:
            """Makes the message durable; its queue id."""

        def discard(self) -> None:
            """Leaves nothing of it; harmless after `commit`."""

    class Acceptor(Protocol):
        """Where messages go."""

        def begin(self, hello: str, protocol: str, sender: command.Sender) -> Reception:
            """A message from this sender. hello: what the client calls itself; protocol: as Received names it."""


_MOST_ENVELOPE = 1 << 21
"""Characters that a message's recipients may have together."""


class Session:
    """One session. state: where it stands. on_bug: told of an exception that nobody foresaw; the client hears that the trouble
    is ours."""

    def __init__(self, rules: Rules, acceptor: "Acceptor", on_bug: "Callable[[Exception], None]") -> None:
        self.state = READY if rules.tolerant else START
        self._rules = rules
        self._acceptor = acceptor
        self._on_bug = on_bug
        self._inflow = Inflow(tolerant=rules.tolerant, longest=rules.LONGEST_LINE)
        self._replies: list[str] = []
        self._hello, self._protocol = "", "SMTP"
        self._reception: Reception | None = None
        self._sender = command.Sender()
        self._envelope_size = 0
        self._reading = self._command
        self._chunk_left, self._chunk_last = 0, False
        self._refusal = ""
        self._errors = self._idle = 0

    def greeting(self) -> bytes:
        """What is said first."""
        self._replies.append(f"220 {self._rules.name} ESMTP smartrelay")
        return self._said()

    def receive(self, data: bytes) -> bytes:
        """The replies to what is complete with `data`."""
        self._inflow.feed(data)
        while self.state != OVER and self._reading():
            pass
        return self._said()

    def timed_out(self) -> bytes:
        """Nothing has come for `Rules.patience`: the session ends."""
        return self._ended(f"421 4.4.2 {self._rules.name} Nothing has come for too long")

    def stop(self) -> bytes:
        """We are told to end (section 3.8)."""
        return self._ended(f"421 4.3.2 {self._rules.name} Shutting down")

    def fail(self) -> bytes:
        """Something went wrong that nobody foresaw."""
        return self._ended(f"421 4.3.0 {self._rules.name} Trouble of our own")

    @property
    def pause(self) -> float:
        """Seconds for which the replies are to be held back: who errs and errs is not to do so as fast as may be."""
        return self._rules.pause if self._errors > self._rules.patient_errors else 0.0

    def close(self) -> None:
        """The client is gone: what is not whole is dropped."""
        self.state = OVER
        self._drop()

    def _ended(self, reply: str) -> bytes:
        if self.state == OVER:
            return b""
        self.close()
        self._replies.append(reply)
        return self._said()

    def _said(self) -> bytes:
        text = "".join(f"{reply}\r\n" for reply in self._replies)
        self._replies.clear()
        return text.encode("ascii", "replace")

    def _say(self, reply: str) -> None:
        self._replies.append(reply)
        if reply[0] == "5":
            self._errors += 1
        if self._errors >= self._rules.most_errors and self.state != OVER:
            self._replies.append(f"421 4.7.0 {self._rules.name} Too many errors")
            self.close()

    # Commands.

    def _command(self) -> bool:
        """One command; whether there may be another step."""
        try:
            line = self._inflow.line()
            if line is None:
                return False
            verb, argument = command.split(line)
            self._obey(verb, argument)
        except BadLine as bad:
            if bad.hopeless:
                self._give_up(f"554 5.5.2 {bad}")
            else:
                self._say(f"500 5.5.2 {bad}")
        except BadCommand as bad:
            self._say(bad.reply)
        return True

    def _give_up(self, reply: str) -> None:
        self._replies.append(reply)
        self.close()

    def _obey(self, verb: str, argument: str) -> None:
        if verb in NOT_MAIL:
            self._give_up("554 5.7.0 This is no web server")
            return
        does = _DOES.get(verb)
        if does is None:
            known = verb in NOT_HERE
            raise BadCommand("502 5.5.1 That is not done here" if known else "500 5.5.2 That command is not known here")
        wrong = OUT_OF_ORDER.get((self.state, verb))
        if wrong is not None and verb != "BDAT":
            raise BadCommand(wrong)
        if argument and verb in ALONE:
            raise BadCommand(f"501 5.5.4 {verb} takes nothing behind it")
        if verb in IDLE:
            self._idle += 1
            self._errors += self._idle > self._rules.most_idle
        does(self, argument)

    def _lines(self, code: str, *lines: str) -> None:
        self._replies += [f"{code}-{line}" for line in lines[:-1]]
        self._say(f"{code} {lines[-1]}")

    def _early(self) -> bool:
        """Whether there is more where the client had to wait; the session is over then (RFC 2920 section 3.1)."""
        if not self._rules.one_at_a_time or not self._inflow.pending:
            return False
        self._give_up("554 5.5.0 You have to wait for the reply")
        return True

    def _ehlo(self, argument: str) -> None:
        if self._greeted(argument, "ESMTP"):
            extensions = ("PIPELINING", f"SIZE {self._rules.max_size}", *EXTENSIONS)
            self._lines("250", self._rules.name, *extensions)

    def _helo(self, argument: str) -> None:
        if self._greeted(argument, "SMTP"):
            self._say(f"250 {self._rules.name}")

    def _greeted(self, argument: str, protocol: str) -> bool:
        if not argument:
            raise BadCommand("501 5.5.4 Say who you are")
        if self._early():
            return False
        self._hello, self._protocol = argument.partition(" ")[0], protocol
        self._reset()
        return True

    def _mail(self, argument: str) -> None:
        sender = command.mail(argument, tolerant=self._rules.tolerant)
        if sender.size > self._rules.max_size:
            raise BadCommand(f"552 5.3.4 A message may have {self._rules.max_size} octets")
        trouble = self._trouble(lambda: self._begin(sender), address=SENDER_ADDRESS)
        if not trouble:
            self.state = SENDER
        self._say(trouble or "250 2.1.0 Ok")

    def _begin(self, sender: command.Sender) -> None:
        self._sender, self._envelope_size = sender, 0
        self._reception = self._acceptor.begin(self._hello, "UTF8SMTP" if sender.utf8 else self._protocol, sender)

    def _rcpt(self, argument: str) -> None:
        found = command.recipient(argument, tolerant=self._rules.tolerant, utf8=self._sender.utf8)
        size = len(found.path) + len(found.orcpt)
        if self._envelope_size + size > _MOST_ENVELOPE:
            raise BadCommand("452 4.5.3 Too many recipients")
        reception = self._reception
        assert reception is not None
        trouble = self._trouble(lambda: reception.add([found.path], found.notify, found.orcpt))
        if not trouble:
            self._envelope_size += size
            self.state = RECIPIENT
        self._say(trouble or "250 2.1.5 Ok")

    def _data(self, argument: str) -> None:
        if self._early():
            return
        self._refusal = ""
        self._inflow.begin()
        self._reading = self._text
        self._say("354 End with a dot on a line of its own")

    def _bdat(self, argument: str) -> None:
        """The octets behind it have to be read, whatever is said to it."""
        try:
            self._chunk_left, self._chunk_last = command.chunk(argument)
        except BadCommand as bad:
            self._give_up(bad.reply)  # what comes next may be text or a command: nobody can tell
            return
        self._refusal = OUT_OF_ORDER.get((self.state, "BDAT"), "")
        if self.state == RECIPIENT:
            self._inflow.begin_chunks()
            self.state = CHUNKS
        self._reading = self._chunk

    def _rset(self, argument: str) -> None:
        self._reset()
        self._say("250 2.0.0 Ok")

    def _noop(self, argument: str) -> None:
        self._say("250 2.0.0 Ok")

    def _vrfy(self, argument: str) -> None:
        if not argument:
            raise BadCommand("501 5.5.4 VRFY takes a name")
        self._say("252 2.1.5 Send it some mail, and see")

    def _help(self, argument: str) -> None:
        self._lines("214", "2.0.0 " + " ".join(_DOES), "2.0.0 See smartrelay(1)")

    def _quit(self, argument: str) -> None:
        self._give_up("221 2.0.0 Bye")

    # Messages.

    def _text(self) -> bool:
        """What is there of the text; whether there may be another step."""
        piece, ended = self._inflow.text()
        self._take(piece)
        if ended:
            self._reading = self._command
            self._finish()
            self._reset()
        return ended

    def _chunk(self) -> bool:
        """What is there of a chunk; whether there may be another step."""
        piece, taken = self._inflow.chunk(self._chunk_left)
        self._chunk_left -= taken
        self._take(piece)
        if self._chunk_left:
            return False
        self._reading = self._command
        if not self._refusal and not self._chunk_last:
            self._say("250 2.0.0 Ok")
            return True
        if self._chunk_last:
            self._take(self._inflow.last())
        if self._finish():
            self._reset()
        elif self.state not in (START, READY, OVER):
            self.state = SPOILED
        return True

    def _take(self, piece: bytes) -> None:
        """Hands on a piece of the text, until there is trouble; then it is only read."""
        reception = self._reception
        if not piece or self._refusal or reception is None:
            return
        self._refusal = self._trouble(lambda: reception.write(piece))
        if self._refusal:
            self._drop()

    def _finish(self) -> bool:
        """The end of a message; whether it was accepted."""
        one = "" if self._refusal else self._committed()
        if self._refusal:
            self._drop()
            self._say(self._refusal)
            return False
        self._reception = None
        self._errors = self._idle = 0
        self._say(f"250 2.0.0 Ok: queued as {one}")
        return True

    def _committed(self) -> str:
        """The queue id; "" and a refusal where there is trouble."""
        reception = self._reception
        assert reception is not None
        done: list[str] = []
        self._refusal = self._trouble(lambda: done.append(reception.commit()))
        return "".join(done)

    def _reset(self) -> None:
        """No transaction is open."""
        if self.state != OVER:
            self.state = START if not self._hello and not self._rules.tolerant else READY
        self._drop()

    def _drop(self) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            self._trouble(reception.discard)

    def _trouble(self, act: "Callable[[], None]", *, address: str = RECIPIENT_ADDRESS) -> str:
        """Acts; the reply to whatever goes wrong, "" where nothing does."""
        try:
            act()
        except SmartRelayError as error:
            return reply_to(error, address=address)
        except Exception as error:
            self._on_bug(error)
            return f"{OURS} Trouble of our own; nothing was accepted"
        return ""


_DOES: "dict[str, Callable[[Session, str], None]]" = {
    "EHLO": Session._ehlo,
    "HELO": Session._helo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "BDAT": Session._bdat,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "HELP": Session._help,
    "QUIT": Session._quit,
}
