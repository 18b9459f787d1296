"""The part of a notice for programs: message/delivery-status (RFC 3464), or its international form (RFC 6533 section 4.2).

Whatever reaches a field here has been made one line of printable text, cut to a length that a line can have.
"""

import re
import time
from collections.abc import Sequence

from smartrelay.mail import header
from smartrelay.mail.dsn_part import EIGHT_BIT, SEVEN_BIT, Part, of_octets
from smartrelay.mail.envelope import Recipient
from smartrelay.mail.notice import Action, Origin, Outcome
from smartrelay.mail.status import EXPIRY, Status, printable, visible

LONGEST_VALUE = 900
"""Octets of a value: with the name of its field it stays within a line of 998 (RFC 5322 section 2.1.1)."""

_CODE = re.compile(r"[245]\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})")
_CLASS = {Action.FAILED: "5", Action.EXPIRED: "5", Action.DELAYED: "4", Action.RELAYED: "2", Action.DELIVERED: "2"}
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_PATH = re.compile(r"(?<![\w/:.])/[\w./@-]+")
_NO_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")


def report(origin: Origin, outcomes: Sequence[Outcome], hostname: str, *, international: bool) -> Part:
    """The part about these recipients. hostname: of the reporting MTA; international: the notice goes by SMTPUTF8."""
    groups = [_about_message(origin, hostname)]
    groups += [
        _about_recipient(origin.envelope.recipients[each.recipient], each, hostname, international=international)
        for each in outcomes
    ]
    text = "\n".join("\n".join(fields) + "\n" for fields in groups)
    if text.isascii():
        return of_octets("message/delivery-status", SEVEN_BIT, text.encode("ascii"))
    return of_octets("message/global-delivery-status", EIGHT_BIT, text.encode("utf-8"))


def _about_message(origin: Origin, hostname: str) -> list[str]:
    fields = [f"Reporting-MTA: {_mta(hostname)}", f"Arrival-Date: {date(origin.envelope.arrived)}"]
    if origin.envelope.envid:
        fields.insert(0, f"Original-Envelope-Id: {_line(origin.envelope.envid)}")
    return [*fields, f"X-Smartrelay-Queue-ID: {_line(origin.queue_id)}"]


def _about_recipient(recipient: Recipient, outcome: Outcome, hostname: str, *, international: bool) -> list[str]:
    status, action = outcome.status, Action.FAILED if outcome.action is Action.EXPIRED else outcome.action
    fields = [
        f"Final-Recipient: {_typed(recipient.address, international=international)}",
        f"Action: {action}",
        f"Status: {code(outcome)}",
    ]
    if recipient.orcpt:
        fields.insert(0, f"Original-Recipient: {_original(recipient.orcpt, international=international)}")
    if status.code:
        fields += [f"Remote-MTA: {_mta(host_of(status, hostname))}", f"Diagnostic-Code: smtp; {words(status)}"]
    elif action in (Action.FAILED, Action.DELAYED):
        fields.append(f"Diagnostic-Code: x-smartrelay; {words(status)}")
    fields.append(f"Last-Attempt-Date: {date(outcome.attempted)}")
    if outcome.action is Action.DELAYED and outcome.retry_until:
        fields.append(f"Will-Retry-Until: {date(outcome.retry_until)}")
    return fields


def code(outcome: Outcome) -> str:
    """The enhanced status code of an outcome, its class that of the action (RFC 3464 section 2.3.4, RFC 3463 section 2)."""
    if outcome.action is Action.EXPIRED:
        return EXPIRY
    kind, dsn = _CLASS[outcome.action], outcome.status.dsn
    if not _CODE.fullmatch(dsn) or (kind == "2" and dsn[0] != "2"):
        return f"{kind}.0.0"
    return kind + dsn[1:]


def words(status: Status) -> str:
    """What was said, as one line: the server's words as they are, our own without the names of our files."""
    text = status.text if status.code else _PATH.sub("(a file)", status.text)
    return printable(text, LONGEST_VALUE) or "no reason is recorded"


def host_of(status: Status, hostname: str) -> str:
    """The name in "name[address]:port"; hostname, ours, for a server behind a socket in the file system."""
    host = status.host.partition("[")[0] or status.host
    return hostname if host.startswith("/") else name(host)


def name(host: str) -> str:
    """A host's name as fields and message ids can have it."""
    return _NO_NAME.sub("-", host[:255]) or "localhost"


def date(moment: float) -> str:
    """Unix seconds as a date-time in local time (RFC 5322 section 3.3)."""
    local = time.localtime(moment)
    return header.date(tuple(local), local.tm_gmtoff)


def _mta(host: str) -> str:
    """A host with the type of its name: only a full one is known to the DNS (RFC 3464 section 2.2.2)."""
    return f"{'dns' if '.' in host else 'x-local-hostname'}; {name(host)}"


def _line(text: str) -> str:
    """`text` as one line of ASCII with every blank kept: an envelope id comes back as it was given."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:LONGEST_VALUE])


def _typed(address: str, *, international: bool) -> str:
    """An address with its type (RFC 3464 section 2.3.2, RFC 6533 section 3)."""
    if address.isascii():
        return f"rfc822; {_line(address)}"
    return f"utf-8; {_embedded(address, international=international)}"


def _embedded(address: str, *, international: bool) -> str:
    """An address that is not ASCII as utf-8-addr-unitext, or as utf-8-addr-xtext in ASCII (RFC 6533 section 3)."""
    out, octets = [], 0
    for char in visible(address):
        plain = char not in "\\+= " and (international or char.isascii())
        shown = char if plain else f"\\x{{{ord(char):02X}}}"
        octets += len(shown.encode("utf-8"))
        if octets > LONGEST_VALUE:
            break
        out.append(shown)
    return "".join(out)


def _original(orcpt: str, *, international: bool) -> str:
    """An ORCPT value, its address decoded (RFC 3461 section 4.2). An octet that no field can have stays encoded."""
    kind, _, address = orcpt.rpartition(";")
    if kind.lower() == "utf-8":
        address = _EMBEDDED.sub(lambda found: _unembedded(found[0], int(found[1], 16)), address) if international else address
        return f"{kind};{visible(address)[: LONGEST_VALUE // 4]}" if international else f"{kind};{_line(address)}"
    address = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)) if "20" <= found[1] <= "7E" else found[0], address)
    return f"{kind if kind.replace('-', '').isalnum() and kind.isascii() else 'rfc822'};{_line(address)}"


def _unembedded(embedded: str, point: int) -> str:
    """The character that an EmbeddedUnicodeChar stands for, if unitext can have it as it is."""
    found = chr(point) if 0x80 <= point <= 0x10FFFF else ""
    return found if found and found.isprintable() else embedded
