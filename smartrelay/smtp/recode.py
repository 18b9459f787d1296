"""A message made fit for a server that cannot take it as it is: 8-bit data, lines over 998 octets, NUL.

Whether a body must change is known only after it, and its header comes before: so the stream is read twice, first by
`plan`, then by `recode`. `prepare` does both on a stream that it can open again, and learns the size of the result.
Memory does not grow with the message; the plan has one octet for each MIME part, up to 100,000 of them.

Decisions:

- Only leaves are encoded, each only if it has to be (A-075, A-095): text in quoted-printable, or in base64 if it holds
  NUL or is 8-bit by more than a third; anything else in base64. A leaf labelled `binary` with a bare
  CR has to be, too (A-105). Parts that are base64 or quoted-printable already are repaired in their encoding.
- A composite part that said 8bit or binary, and in which something changes, says 7bit if all in it now is.
- A field with an address that encoding cannot express goes as it is by SMTPUTF8, and nowhere else.
- In what a multipart/signed signs nothing is changed: if something had to be, the message is refused, 5.6.3. A
  DKIM-Signature does not forbid a change: it breaks, and the mail arrives.
- Raw 8-bit header text is encoded at any depth (`fields.encode_header`), save in signed parts when the server takes
  8-bit data: there it is left alone.
- A message that is 8-bit and goes as it is, but does not say so, is labelled: MIME-Version, Content-Type and
  Content-Transfer-Encoding: 8bit where they are missing or wrong (A-094, E-050).
- A Content-Type is added where there is none: charset utf-8 if the body is valid UTF-8, else `other_charset`.
- message/partial, message/external-body and a multipart without a boundary are refused if they would have to change,
  and so is a multipart whose delimiter never comes, for all its text would be washed as if it were a preamble. Other
  message/* (message/delivery-status) are 7-bit by definition; where they are not, they are encoded like text.
- The result ends in LF, unless it is empty; the header of a message that runs into its body gets its empty line
  (A-071, E-042).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from smartrelay.smtp.fields import encode_header
from smartrelay.smtp.mime import Data, Delimiter, Event, Head, Part, Tail, Walker, field_name
from smartrelay.smtp.qp import (
    Base64,
    Encoder,
    NotRecodable,
    QuotedPrintable,
    RefoldQuotedPrintable,
    RewrapBase64,
    Wash,
)
from smartrelay.smtp.survey import Change, Look, Plan, plan

__all__ = ["NotRecodable", "Plan", "Recoded", "encode_header", "plan", "prepare", "recode"]

_CTE = b"Content-Transfer-Encoding"


def recode(chunks: Iterable[bytes], plan: Plan) -> Iterator[bytes]:
    """The message of which `plan` was made, in LF form and fit for the server: no line over 998, no NUL, and, unless
    the server takes it, nothing 8-bit."""
    last = b""
    rewriter = _Rewriter(plan)
    for event in Walker().walk(chunks):
        data = rewriter.take(event)
        if data:
            last = data
            yield data
    if last and not last.endswith(b"\n"):
        yield b"\n"


@dataclass(frozen=True, slots=True)
class Recoded:
    """A message that can be made fit: how large it becomes, and its octets as often as they are asked for.

    The result ends in LF, so its size on the wire is `octets + lines` (A-090).
    """

    plan: Plan
    octets: int
    lines: int
    eight_bit: bool
    open_message: Callable[[], Iterable[bytes]]

    def chunks(self) -> Iterator[bytes]:
        return recode(self.open_message(), self.plan)


def prepare(
    open_message: Callable[[], Iterable[bytes]], *, eight_bit: bool, other_charset: str = "unknown-8bit", utf8: bool = False
) -> Recoded:
    """Find out whether the message can be made fit, and its size then: read it twice. Raises NotRecodable."""
    plan_ = plan(open_message(), eight_bit=eight_bit, other_charset=other_charset, utf8=utf8)
    octets = lines = 0
    check = Look()
    for chunk in recode(open_message(), plan_):
        octets += len(chunk)
        lines += chunk.count(b"\n")
        check.feed(chunk)
    if check.offends(eight_bit=eight_bit):  # no such way is known; nothing of that kind is ever sent: A-074 A-077 A-093
        raise NotRecodable("the message could not be made fit for this server", "5.6.3")
    return Recoded(plan_, octets, lines, check.high > 0, open_message)


class _Rewriter:
    """The second reading: one event in, its octets out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._encoders: list[Encoder | None] = []  # of the parts that are open

    def take(self, event: Event) -> bytes:
        match event:
            case Data(_, data):
                encoder = self._encoders[-1]
                return encoder.feed(data) if encoder else data
            case Head(part):
                change = self._plan.change(part)
                self._encoders.append(_encoder(part, change, self._plan))
                return _head(event, change, self._plan)
            case Delimiter(part, data):
                rest = self._finish()
                self._encoders[-1] = _encoder(part, self._plan.change(part), self._plan)
                return rest + data
            case Tail():
                rest = self._finish()
                self._encoders.pop()
                return rest

    def _finish(self) -> bytes:
        encoder = self._encoders[-1]
        return encoder.finish() if encoder else b""


def _encoder(part: Part, change: Change, plan: Plan) -> Encoder | None:
    match change & Change.ENCODING:
        case Change.QUOTE:
            return QuotedPrintable()
        case Change.BASE64:
            wide = part.charset.startswith((b"utf-16", b"utf-32", b"ucs-", b"iso-10646"))  # LF may be half a character
            return Base64(text=part.maintype in (b"text", b"message") and not wide)
        case Change.REFOLD:
            return RefoldQuotedPrintable()
        case Change.REWRAP:
            return RewrapBase64()
        case Change.WASH:
            return Wash(eight_bit=plan.eight_bit)
    return None


def _head(head: Head, change: Change, plan: Plan) -> bytes:
    part = head.part
    if part.frozen:
        return b"".join(head.fields) + head.end
    fields = [encode_header(item, utf8=plan.utf8) for item in head.fields]
    if change and part.message and not any(field_name(item) == b"mime-version" for item in fields):
        fields.append(b"MIME-Version: 1.0\n")
    if change & Change.TYPE:
        charset = plan.other_charset if change & Change.OTHER_CHARSET else "utf-8"
        fields.append(b"Content-Type: text/plain; charset=" + charset.encode() + b"\n")
    encoding = _new_encoding(change)
    if encoding:
        fields = _with_encoding(fields, encoding)
    torn = head.needs_end or (head.torn and bool(change))
    return b"".join(fields) + (b"\n" if torn else head.end)


def _new_encoding(change: Change) -> bytes:
    match change & Change.ENCODING:
        case Change.QUOTE:
            return b"quoted-printable"
        case Change.BASE64:
            return b"base64"
    if change & Change.SAY_7BIT:
        return b"7bit"
    return b"8bit" if change & Change.SAY_8BIT else b""


def _with_encoding(fields: list[bytes], encoding: bytes) -> list[bytes]:
    """The one Content-Transfer-Encoding field, where the first one stood."""
    kept = [item for item in fields if field_name(item) != _CTE.lower()]
    place = next((at for at, item in enumerate(fields) if field_name(item) == _CTE.lower()), len(kept))
    kept.insert(place, _CTE + b": " + encoding + b"\n")
    return kept
