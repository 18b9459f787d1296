"""What an SMTP server says when: the states of a session, the order of commands, the words for troubles (RFC 5321 section 4).

The order is one table (OUT_OF_ORDER), what goes wrong in taking a message is another (`reply_to`).
"""

from smartrelay.errors import (
    AddressError,
    ConfigError,
    DataError,
    NoMailbox,
    NoSpace,
    NotPermitted,
    SmartRelayError,
    TooLarge,
    TooManyRecipients,
    TryAgain,
)


class MailLoop(DataError):
    """A message that has passed so many hosts that it must go round in a loop (RFC 5321 section 6.3)."""


START, READY, SENDER, RECIPIENT, CHUNKS, SPOILED, OVER = "start", "ready", "sender", "recipient", "chunks", "spoiled", "over"
"""Where a session stands. START: nobody has said hello. READY: no transaction is open. SENDER: MAIL was accepted. RECIPIENT:
RCPT was. CHUNKS: a chunk was, and more are to come. SPOILED: a chunk was refused, so that RSET must come (RFC 3030 section 2).
"""

_NO_HELLO = "503 5.5.1 Say EHLO first"
_NESTED = "503 5.5.1 A transaction is open already"
_NO_MAIL = "503 5.5.1 Say MAIL first"
_IN_CHUNKS = "503 5.5.1 The message has begun with BDAT"
_SPOILED = "503 5.5.1 The transaction has failed; say RSET"

OUT_OF_ORDER: dict[tuple[str, str], str] = {
    (START, "MAIL"): _NO_HELLO,
    **{(state, "MAIL"): _NESTED for state in (SENDER, RECIPIENT, CHUNKS)},
    (SPOILED, "MAIL"): _SPOILED,
    **{(state, verb): _NO_MAIL for state in (START, READY) for verb in ("RCPT", "DATA", "BDAT")},
    **{(SENDER, verb): "554 5.5.1 No valid recipients" for verb in ("DATA", "BDAT")},
    **{(CHUNKS, verb): _IN_CHUNKS for verb in ("RCPT", "DATA")},
    **{(SPOILED, verb): _SPOILED for verb in ("RCPT", "DATA", "BDAT")},
}
"""The reply to a command that may not come now (section 4.1.4); what is not here may."""

NOT_HERE = frozenset(("EXPN", "TURN", "ETRN", "ATRN", "SEND", "SOML", "SAML", "STARTTLS", "AUTH", "BURL"))
NOT_MAIL = frozenset(("CONNECT", "GET", "POST", "PUT", "HEAD", "OPTIONS"))
"""What web browsers say when a page makes them talk to this port."""

ALONE = frozenset(("DATA", "RSET", "QUIT"))
IDLE = frozenset(("NOOP", "RSET", "VRFY", "HELP", "EHLO", "HELO"))
EXTENSIONS = ("8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "ENHANCEDSTATUSCODES", "HELP")

SENDER_ADDRESS, RECIPIENT_ADDRESS = "501 5.1.7", "501 5.1.3"
_TROUBLES: list[tuple[type[SmartRelayError], str]] = [
    (TooLarge, "552 5.3.4"),
    (MailLoop, "554 5.4.6"),
    (TooManyRecipients, "452 4.5.3"),
    (AddressError, RECIPIENT_ADDRESS),
    (DataError, "554 5.6.0"),
    (NoSpace, "452 4.3.1"),
    (TryAgain, "451 4.3.0"),
    (NotPermitted, "550 5.7.1"),
    (NoMailbox, "550 5.1.1"),
    (ConfigError, "451 4.3.5"),
]
OURS = "451 4.3.0"
"""What any other trouble is: our own, and for another time."""

_LONGEST_REPLY = 400


def reply_to(error: SmartRelayError, *, address: str = RECIPIENT_ADDRESS) -> str:
    """The reply for what went wrong in taking a message. address: the code for an address that is none."""
    code = next((code for kind, code in _TROUBLES if isinstance(error, kind)), OURS)
    text = " ".join(f"{address if code == RECIPIENT_ADDRESS else code} {error}".split())[:_LONGEST_REPLY]
    return "".join(char if " " <= char <= "~" else "?" for char in text)


class Rules:
    """What holds for a session. name: what we call ourselves. max_size: octets that a message may have. tolerant: a pipe, where
    LF may end lines and no one has to say hello. one_at_a_time: a port, where who says more before EHLO or DATA was answered
    does not speak SMTP. patience: seconds to wait for the next octets (section 4.5.3.2.7). most_errors, most_idle: commands
    refused, and those that do nothing, without a message accepted in between. pause: seconds for which replies are held back
    after patient_errors of them."""

    __slots__ = (
        "max_size",
        "most_errors",
        "most_idle",
        "name",
        "one_at_a_time",
        "patience",
        "patient_errors",
        "pause",
        "tolerant",
    )

    LONGEST_LINE = 4096
    """Octets of a command: 512, and what DSN, SIZE, SMTPUTF8 and long addresses add (RFC 3461 section 5.4)."""

    def __init__(
        self,
        name: str,
        max_size: int,
        *,
        tolerant: bool = False,
        one_at_a_time: bool = False,
        patience: float = 300.0,
        most_errors: int = 20,
        most_idle: int = 100,
        patient_errors: int = 10,
        pause: float = 1.0,
    ) -> None:
        self.name = name
        self.max_size = max_size
        self.tolerant = tolerant
        self.one_at_a_time = one_at_a_time
        self.patience = patience
        self.most_errors = most_errors
        self.most_idle = most_idle
        self.patient_errors = patient_errors
        self.pause = pause
