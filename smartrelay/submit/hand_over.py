"""Handing a message over to a process that may write to the spool: how everybody enqueues who is neither root nor its owner.

SMTP on a UNIX socket, whose other end asks the kernel who we are. The text goes in chunks (RFC 3030), so that nothing in it has
to be looked at. Who closes before the greeting is only just ending, or has too much to do: we come again for a while.

Loaded by who needs it; `_socket`, because `socket` takes as long as the whole enqueueing.
"""

import _socket
import sys
import time

from smartrelay.errors import AddressError, DataError, NoMailbox, NotPermitted, SmartRelayError, TooLarge, TryAgain
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0
"""Seconds for which a door that closes is tried again."""

_STEPS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_ANSWER = 300.0
"""Seconds to wait for a reply: a disk may be slow."""

_WORD = 8 if sys.maxsize > 1 << 32 else 4
_ANSWER_TIMEVAL = int(_ANSWER).to_bytes(_WORD, sys.byteorder) + bytes(_WORD)
"""The same as the kernel has it: seconds and microseconds, each a C long (socket(7), SO_SNDTIMEO)."""

_BLOCK = 1 << 16
_TOGETHER = 100
"""Recipients that are named before we listen: neither side may wait for the other to read."""

_FAILURES: dict[str, type[SmartRelayError]] = {
    "5.3.4": TooLarge,
    "5.7.1": NotPermitted,
    "5.1.1": NoMailbox,
    "5.1.3": AddressError,
}


class _Closed(Exception):
    """The other side closed before it had agreed to take a message."""


class HandOver:
    """What `spool.durable.Draft` is to an owner: `write`, `commit`, `discard`. queue_id: what the other side calls it, after
    `commit`. refusal: why we cannot write ourselves. passed_on: the message began elsewhere.

    Raises TryAgain where nobody takes it now, and what the other side says against it.
    """

    def __init__(
        self,
        settings: Settings,
        hello: str,
        envelope: Envelope,
        refusal: SmartRelayError,
        sleep: "Callable[[float], None]" = time.sleep,
        clock: "Callable[[], float]" = time.monotonic,
        *,
        passed_on: bool = False,
    ) -> None:
        self._path = settings.submit_socket
        self._envelope = envelope
        self._refusal = refusal
        self._passed_on = passed_on
        self._buffer = bytearray()
        self._heard = b""
        self.text_octets = 0
        self.queue_id = ""
        self._connection = self._connected(hello, sleep, clock)
        try:
            self._name_recipients()
        except BaseException:
            self._connection.close()
            raise

    def write(self, text: bytes | bytearray) -> None:
        """Adds a piece of the text (LF line ends)."""
        self.text_octets += len(text)
        self._buffer += text.replace(b"\n", b"\r\n")
        if len(self._buffer) >= _BLOCK:
            self._chunk("")

    def commit(self) -> None:
        """Ends the text; on return the message is on disk for good."""
        reply = self._chunk(" LAST")
        self.queue_id = reply.rpartition(" ")[2]
        self._send(b"QUIT\r\n")
        self._connection.close()

    def discard(self) -> None:
        """Takes it back: what has not ended is dropped."""
        self._connection.close()

    def _connected(self, hello: str, sleep: "Callable[[float], None]", clock: "Callable[[], float]") -> _socket.socket:
        """A connection on which the other side has said yes to EHLO and MAIL."""
        end, step = clock() + PATIENCE, 0
        while True:
            try:
                self._connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
                try:
                    self._begin(hello)
                except BaseException:
                    self._connection.close()
                    raise
                return self._connection
            except _Closed:
                wait = _STEPS[min(step, len(_STEPS) - 1)]
                if clock() + wait > end:
                    raise TryAgain(f"{self._path} is there, but nobody takes mail at it; nothing was accepted") from None
                sleep(wait)
                step += 1

    def _begin(self, hello: str) -> None:
        # in the kernel's queue those that come first are let in first; who only looks again now and then may never be
        self._connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _ANSWER_TIMEVAL)
        try:
            self._connection.connect(self._path)
            self._connection.settimeout(_ANSWER)
        except FileNotFoundError:
            raise TryAgain(
                f"{self._refusal}; and there is no {self._path} to hand mail over at; start smartrelay-submit.socket"
            ) from None
        except PermissionError as error:
            raise TryAgain(f"cannot reach {self._path}: {error.strerror}; {self._refusal}") from error
        except (ConnectionError, BlockingIOError):
            raise _Closed from None
        except OSError as error:
            raise TryAgain(f"cannot reach {self._path}: {error.strerror or error}; nothing was accepted") from error
        self._send(f"EHLO {hello}\r\n{self._mail()}\r\n".encode())
        for _ in ("greeting", "EHLO", "MAIL"):
            reply = self._reply()
            if not reply or reply.startswith("421"):
                raise _Closed
            self._must_be_good(reply)

    def _mail(self) -> str:
        envelope = self._envelope
        words = [f"MAIL FROM:<{envelope.reverse_path}>"]
        if not all(map(str.isascii, [envelope.reverse_path, *(each.address for each in envelope.recipients)])):
            words.append("SMTPUTF8")
        if envelope.ret:
            words.append(f"RET={envelope.ret}")
        if envelope.envid:
            words.append(f"ENVID={_xtext(envelope.envid)}")
        if self._passed_on:
            words.append("XPASSEDON")  # `command.PASSED_ON`, whose module takes long to load
        return " ".join(words)

    def _name_recipients(self) -> None:
        recipients = self._envelope.recipients
        for start in range(0, len(recipients), _TOGETHER):
            some = recipients[start : start + _TOGETHER]
            self._send("".join(map(_rcpt, some)).encode())
            for _ in some:
                self._must_be_good(self._reply())

    def _chunk(self, last: str) -> str:
        self._send(f"BDAT {len(self._buffer)}{last}\r\n".encode("ascii") + self._buffer)
        self._buffer.clear()
        reply = self._reply()
        self._must_be_good(reply)
        return reply

    def _send(self, data: bytes | bytearray) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            pass  # why it has ended may still be there to be read

    def _reply(self) -> str:
        """The last line of the next reply, "" where the other side has ended."""
        while True:
            line, end, rest = self._heard.partition(b"\r\n")
            if end:
                self._heard = rest
                if line[3:4] != b"-":
                    return line.decode("ascii", "replace")
                continue
            try:
                data = self._connection.recv(_BLOCK)
            except ConnectionError:
                data = b""
            except OSError as error:
                raise TryAgain(f"no answer from {self._path}: {error}; try again") from error
            if not data:
                return ""
            self._heard += data

    def _must_be_good(self, reply: str) -> None:
        if reply[:1] == "2":
            return
        if not reply:
            raise TryAgain(f"the other end of {self._path} has gone, and did not say that it accepted the message")
        text = reply[4:].partition(" ")[2] or reply
        if reply[:1] == "4":
            raise TryAgain(text)
        raise _FAILURES.get(reply[4:9], DataError)(text)


def _rcpt(recipient: Recipient) -> str:
    words = [f"RCPT TO:<{recipient.address}>"]
    if recipient.notify:
        words.append(f"NOTIFY={recipient.notify}")
    if recipient.orcpt:
        words.append(f"ORCPT={recipient.orcpt}")
    return " ".join(words) + "\r\n"


def _xtext(text: str) -> str:
    """RFC 3461 section 4; printable ASCII in."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in text)
