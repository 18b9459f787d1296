"""Reading envelopes back from the spool, checked once, here, so that everything after may trust them."""

from json import JSONDecoder

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical
from smartrelay.mail.envelope import FIELD, VERSION, Envelope, Facts, Recipient
from smartrelay.mail.status import printable

LONGEST_LINE = 64 << 20
"""No envelope is longer than this many octets: 10,000 recipients of 1,000 characters fit five times."""


_decode = JSONDecoder().decode


class BadEnvelope(ValueError):
    """The first line of a file is no envelope of ours; the text says why."""


def read(line: bytes) -> Envelope:
    """The envelope in the first line of a spool file (with or without its line feed).

    Raises BadEnvelope with the reason when it is none.
    """
    if not line.startswith(FIELD):
        raise BadEnvelope("its first line is no Smartrelay-Envelope")
    try:
        data = _decode(line[len(FIELD) :].decode("ascii"))
        if data["v"] != VERSION:
            raise BadEnvelope(f"its envelope has version {data['v']!r}, this program reads {VERSION}")
        facts = Facts(*[_count(data[name]) for name in ("stored", "octets", "longest", "eight_bit", "nul", "bare_cr")])
        origin, number = data.get("notice_of", ("", 0))
        envelope = Envelope(
            reverse_path=_checked(data["sender"]) if data["sender"] else "",
            recipients=[_read_recipient(item) for item in _list(data["recipients"])],
            arrived=_moment(data["arrived"]),
            uid=int(data["uid"]),
            message_id=printable(str(data["message_id"])),
            ret=_word(data.get("ret", "")),
            envid=printable(str(data.get("envid", ""))),
            notice_of=(str(origin), int(number)),
            facts=facts,
        )
    except BadEnvelope:
        raise
    except (AddressError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadEnvelope(f"its envelope cannot be read: {error}") from error
    if not envelope.recipients:
        raise BadEnvelope("its envelope has no recipient")
    return envelope


def _read_recipient(item: object) -> Recipient:
    if isinstance(item, dict):
        return Recipient(_checked(item["address"]), _word(item["notify"]), _word(item["orcpt"]))
    return Recipient(_checked(item))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("its recipients are no list")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 10**12:
        raise ValueError(f"{value!r} is no number of octets")
    return value


def _moment(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _word(value: object) -> str:
    """A parameter's value: it goes into a command (RFC 5321 section 4.1.2, esmtp-value)."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is no value of a parameter")
    return value


def _checked(address: object) -> str:
    """A hand-made spool file must not bring into a command what submission would have refused (RFC 5321 section 4.1.2)."""
    if not isinstance(address, str):
        raise ValueError(f"address is not text: {address!r}")
    return canonical(address)
