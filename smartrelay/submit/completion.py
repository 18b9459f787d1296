"""What submission makes of a header: what is missing is added, local names are completed, what must not leave is taken out
(RFC 6409 section 8). All other fields stay as they are, and where they are.

Only mail that begins here is treated so; mail on its way from elsewhere (`-G`) gets a trace field and no more (RFC 5321
section 6.4).

On the enqueue path: imports `address`, `header` and `settings` only.
"""

from smartrelay.errors import AddressError
from smartrelay.mail import header
from smartrelay.mail.address import qualified, split
from smartrelay.settings import Settings

_HIDDEN = (b"bcc", b"resent-bcc")
_DROPPED = (*_HIDDEN, b"return-path", b"content-length")
"""Fields that never leave: hidden recipients (RFC 5322 section 3.6.3), and what only a final delivery may write."""

_NEEDED = (b"date", b"from", b"message-id")
_ADDRESSES = (
    b"from", b"to", b"cc", b"reply-to", b"sender",
    b"resent-from", b"resent-to", b"resent-cc", b"resent-reply-to", b"resent-sender",
)  # fmt: skip
_ONCE = (*_NEEDED, b"tls-required")
"""Fields that a message must not have twice (RFC 5322 section 3.6, RFC 8689 section 3): the first counts."""

_LOOP_BACK = b"@localhost"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def is_local(address: str, settings: Settings) -> bool:
    """Whether a canonical address is that of a local name: one without a domain, or at one that means this host."""
    domain = split(address)[1]
    return domain is None or domain.lower() in settings.own_names


def completed(found: list[header.Field], date: str, message_id: str, domain: str, author: "Callable[[], str]") -> bytes:
    """The header as it is stored below its trace field, without the empty line behind it.

    found: its fields as they were handed in. date, message_id: for fields that are missing. domain: completes local names.
    author: who hands it in, with the full name.
    """
    lines: list[bytes] = []
    names: set[bytes] = set()
    resent: int | None = None
    several = False
    for name, field in found:
        if name in _DROPPED or (name in _NEEDED and not _is_usable(name, field)):
            continue
        if name in _ONCE and name in names:
            continue
        names.add(name)
        if name == b"from":
            several = _has_several(field)
        if name[:7] == b"resent-" and resent is None:
            resent = len(lines)
        if name in _ADDRESSES and not _is_complete(field):
            field = _with_domain(field, domain)
        lines.append(field)
    if b"date" not in names:
        lines.append(f"Date: {date}\n".encode("ascii"))
    if b"from" not in names:
        lines.append(f"From: {author()}\n".encode("utf-8", "replace"))
    elif b"sender" not in names and several:
        # whose mail it is must be clear (RFC 5322 section 3.6.2)
        lines.append(f"Sender: {author()}\n".encode("utf-8", "replace"))
    if b"message-id" not in names:
        lines.append(f"Message-ID: {message_id}\n".encode("ascii", "replace"))
    if resent is not None:
        lines[resent:resent] = _missing_of_resent(names, date, message_id, author)
    return b"".join(lines)


def passed_on(found: list[header.Field]) -> bytes:
    """The header of mail that did not begin here; hidden recipients stay hidden all the same."""
    return b"".join([field for name, field in found if name not in _HIDDEN])


def message_id_of(found: list[header.Field]) -> str:
    """The Message-ID that a header has, "" for none that identifies anything."""
    return next((header.value(field) for name, field in found if name == b"message-id" and _is_usable(name, field)), "")


def _is_usable(name: bytes, field: bytes) -> bool:
    """Whether a field says anything: an empty one is no better than none. A Message-ID has to be one (RFC 5322 section
    3.6.4): no two messages may ever be taken for one."""
    value = field[field.find(b":") + 1 :].strip()
    if name != b"message-id":
        return bool(value)
    left, at, right = value[1 : value.find(b">")].partition(b"@")
    return value[:1] == b"<" and bool(left) and bool(at) and bool(right) and not any(blank in left for blank in b" \t\n<")


def _is_complete(field: bytes) -> bool:
    """Whether each address of a field has a domain at a first look; where not, a second is needed."""
    if _LOOP_BACK in field.lower():
        return False
    plain = _without_quoted(field)
    if b"," in plain:
        return all(b"@" in part for part in plain.split(b","))
    return b"@" in plain[plain.rfind(b"<") + 1 :]


def _without_quoted(field: bytes) -> bytes:
    """A field without its quoted strings, in which a comma parts nothing; one with backslashes as it is."""
    return field if b"\\" in field or b'"' not in field else b"".join(field.split(b'"')[::2])


def _with_domain(field: bytes, domain: str) -> bytes:
    from smartrelay.mail.address_list import changed

    try:
        return changed(field, lambda address: qualified(address, domain))
    except AddressError:
        return field  # no address list: who can read it anyway must not be hindered


def _has_several(field: bytes) -> bool:
    if b"," not in _without_quoted(field):
        return False
    try:
        return len(header.addresses(header.value(field))) > 1
    except AddressError:
        return False


def _missing_of_resent(names: set[bytes], date: str, message_id: str, author: "Callable[[], str]") -> list[bytes]:
    """What a block of Resent- fields must have, so that it is never half a block (RFC 5322 section 3.6.6)."""
    lines = []
    if b"resent-date" not in names:
        lines.append(f"Resent-Date: {date}\n".encode("ascii"))
    if b"resent-from" not in names:
        lines.append(f"Resent-From: {author()}\n".encode("utf-8", "replace"))
    if b"resent-message-id" not in names:
        lines.append(f"Resent-Message-ID: <resent.{message_id[1:]}\n".encode("ascii", "replace"))
    return lines
