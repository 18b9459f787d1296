"""The envelope: reverse-path, recipients and what else is known of a message beside its text (RFC 5321 section 2.3.1).

In the spool it is the first line of the message's file: `Smartrelay-Envelope: {JSON}` (design of the spool: a Maildir
reader sees it as one more header field). The JSON is ASCII and ends in the facts about the text, of fixed width, so that a
writer that streams can fill them in at the end.

On the enqueue path: hand-made JSON out (`stored` reads it); no dataclasses, which alone double the start-up.
"""

FIELD = b"Smartrelay-Envelope: "
VERSION = 1
LONGEST_LINE = 998
"""Octets that a line of a message may have, without its line end (RFC 5322 section 2.1.1)."""


class Facts:
    """What later stages must know of the stored text, so that no attempt has to scan it.

    stored: octets of the text as it stands in the file. octets: its size on the wire (CRLF line ends, the last one
    completed; no dot-stuffing), as SIZE wants it (RFC 1870 section 4). longest: octets of its longest line without line end.
    eight_bit, nul, bare_cr: whether it has any.
    """

    __slots__ = ("bare_cr", "eight_bit", "longest", "nul", "octets", "stored")

    WIDTH = len('"stored":000000000000,"octets":000000000000,"longest":000000000000,"eight_bit":0,"nul":0,"bare_cr":0}')

    def __init__(
        self, stored: int = 0, octets: int = 0, longest: int = 0, eight_bit: int = 0, nul: int = 0, bare_cr: int = 0
    ) -> None:
        self.stored = stored
        self.octets = octets
        self.longest = longest
        self.eight_bit = eight_bit
        self.nul = nul
        self.bare_cr = bare_cr

    @property
    def is_unlawful(self) -> bool:
        """Whether no server need take the text as it is: for NUL, or a line of more than 998 octets (RFC 5322 section 2)."""
        return bool(self.nul) or self.longest > LONGEST_LINE

    def json(self) -> bytes:
        """The end of the envelope's JSON, always WIDTH octets."""
        return b'"stored":%12d,"octets":%12d,"longest":%12d,"eight_bit":%d,"nul":%d,"bare_cr":%d}' % (
            self.stored,
            self.octets,
            self.longest,
            self.eight_bit,
            self.nul,
            self.bare_cr,
        )


class Recipient:
    """One forward-path. notify: the NOTIFY value as it was asked for, orcpt: the original recipient (RFC 3461), or ""."""

    __slots__ = ("address", "notify", "orcpt")

    def __init__(self, address: str, notify: str = "", orcpt: str = "") -> None:
        self.address = address
        self.notify = notify
        self.orcpt = orcpt

    def __repr__(self) -> str:
        return f"Recipient({self.address!r})"


class Envelope:
    """Who sent a message, to whom, when, and the facts about its text.

    reverse_path: canonical address or "" for the null reverse-path. arrived: Unix seconds. uid: who handed it in.
    message_id: the text's Message-ID, for the log. ret, envid: RFC 3461, or "". notice_of: for a notice of ours, the queue
    id that it tells about and the number of the notice, else ("", 0). text_at: where the text begins in the file that this
    was read from.
    """

    __slots__ = ("arrived", "envid", "facts", "message_id", "notice_of", "recipients", "ret", "reverse_path", "text_at", "uid")

    def __init__(
        self,
        reverse_path: str,
        recipients: list[Recipient],
        arrived: float,
        uid: int,
        message_id: str = "",
        ret: str = "",
        envid: str = "",
        notice_of: tuple[str, int] = ("", 0),
        facts: Facts | None = None,
    ) -> None:
        self.reverse_path = reverse_path
        self.recipients = recipients
        self.arrived = arrived
        self.uid = uid
        self.message_id = message_id
        self.ret = ret
        self.envid = envid
        self.notice_of = notice_of
        self.facts = facts or Facts()
        self.text_at = 0

    def head(self) -> bytes:
        """The envelope's line without the facts and the line feed: what stands before `Facts.json()` in the file."""
        parts = [
            f'"v":{VERSION},"arrived":{self.arrived:.6f},"uid":{self.uid},"sender":{quoted(self.reverse_path)}',
            '"recipients":[' + ",".join(map(_recipient_json, self.recipients)) + "]",
            f'"message_id":{quoted(self.message_id)}',
        ]
        if self.ret:
            parts.append(f'"ret":{quoted(self.ret)}')
        if self.envid:
            parts.append(f'"envid":{quoted(self.envid)}')
        if self.notice_of[0]:
            parts.append(f'"notice_of":[{quoted(self.notice_of[0])},{self.notice_of[1]}]')
        return FIELD + ("{" + ",".join(parts) + ",").encode("ascii")


def quoted(text: str) -> str:
    """`text` as an ASCII JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = []
    for char in text:
        code = ord(char)
        if 32 <= code < 127 and char not in '"\\':
            out.append(char)
        elif code > 0xFFFF:
            code -= 0x10000
            out.append(f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}")
        else:
            out.append(f"\\u{code:04x}")
    return '"' + "".join(out) + '"'


def _recipient_json(recipient: Recipient) -> str:
    if not recipient.notify and not recipient.orcpt:
        return quoted(recipient.address)
    return f'{{"address":{quoted(recipient.address)},"notify":{quoted(recipient.notify)},"orcpt":{quoted(recipient.orcpt)}}}'
