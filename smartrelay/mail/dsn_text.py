"""The part of a notice for people: which message, who did not get it, why, and what can be done."""

from collections.abc import Callable, Sequence

from smartrelay.mail import header
from smartrelay.mail.dsn_reason import reason
from smartrelay.mail.dsn_report import LONGEST_VALUE, date, host_of, words
from smartrelay.mail.notice import LOST, Action, Origin, Outcome, by_action, wants
from smartrelay.mail.status import visible

_WIDTH = 72
_LONGEST_SUBJECT = 200
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))

_COUNTED = {
    Action.FAILED: "failed",
    Action.EXPIRED: "expired",
    Action.DELAYED: "delayed",
    Action.RELAYED: "handed on",
    Action.DELIVERED: "delivered",
}


def subject(outcomes: Sequence[Outcome]) -> str:
    """The Subject of a notice about these."""
    kinds = by_action(outcomes)
    if LOST.issuperset(kinds):
        return "Undelivered Mail Returned to Sender"
    if set(kinds) == {Action.DELAYED}:
        return "Delayed Mail (still being retried)"
    if LOST.isdisjoint(kinds) and Action.DELAYED not in kinds:
        return "Successful Mail Delivery Report"
    return "Mail Delivery Report: " + ", ".join(f"{len(found)} {_COUNTED[action]}" for action, found in kinds.items())


def explanation(origin: Origin, outcomes: Sequence[Outcome], head: bytes, hostname: str, attached: str) -> str:
    """What a sender is told. head: the original's header; attached: what of the original comes with it."""
    paragraphs = [f"This is the mail system at {hostname}. It is about your message\n", _which(origin, head)]
    for action, found in by_action(outcomes).items():
        paragraphs.append(_wrapped(_OPENINGS[action](origin, found)))
        paragraphs += [_told(origin, each, hostname, advise=action in LOST) for each in found]
    paragraphs.append(_wrapped(f"{attached} is attached, and so is a report for programs and administrators."))
    return "\n".join(paragraphs)


def double_bounce(origin: Origin, outcomes: Sequence[Outcome], head: bytes, hostname: str) -> str:
    """What the postmaster is told of a message that has no sender who could be."""
    about = origin.envelope.notice_of[0]
    what = f"is a notice of this system about the message {about}" if about else "has no sender: it is an automatic answer"
    paragraphs = [
        f"This is the mail system at {hostname}. It is about the message\n",
        _which(origin, head),
        _wrapped(
            f"Its queue id was {origin.queue_id}. It {what}. It could not be delivered, so whoever should have read it "
            "knows nothing. Nobody else is told of it, and it will not be tried again."
        ),
        *[_told(origin, each, hostname, advise=False) for each in outcomes],
        _wrapped("Its header is attached, and so is a report for programs."),
    ]
    return "\n".join(paragraphs)


def _which(origin: Origin, head: bytes) -> str:
    """The lines by which a person knows a message again."""
    title = _subject_of(head)
    return f"    sent     {date(origin.envelope.arrived)}\n" + (f"    subject  {title}\n" if title else "")


def _subject_of(head: bytes) -> str:
    """The original's subject as its author saw it, "" where there is none."""
    field = next((field for name, field in header.fields(head) if name == b"subject"), b"")
    text = header.value(field[:LONGEST_VALUE])
    if "=?" in text:
        from email.errors import HeaderParseError
        from email.header import decode_header, make_header

        try:
            text = str(make_header(decode_header(text)))
        except (HeaderParseError, ValueError, LookupError):
            pass  # no such encoding: as it is written, then
    text = visible(" ".join(text.split()))
    return text if len(text) <= _LONGEST_SUBJECT else text[:_LONGEST_SUBJECT] + "..."


def _failed(_: Origin, found: list[Outcome]) -> str:
    return f"It could not be delivered to {_these(found)}. It will not be tried again."


def _expired(origin: Origin, found: list[Outcome]) -> str:
    return f"It could not be delivered to {_these(found)} within {_age(origin, found)}. It will not be tried again."


def _delayed(origin: Origin, found: list[Outcome]) -> str:
    until = max(each.retry_until for each in found)
    end = f", until {date(until)}" if until else ""
    wishes = [origin.envelope.recipients[each.recipient].notify for each in found]
    told = " You will be told if that fails, too." if all(wants(wish, Action.FAILED) for wish in wishes) else ""
    return (
        f"After {_age(origin, found)} it could not yet be delivered to {_these(found)}. You need not do anything: "
        f"it will be tried again and again{end}.{told}"
    )


def _relayed(_: Origin, found: list[Outcome]) -> str:
    return (
        f"It was handed to the next mail server for {_these(found)}. That server does not tell when mail is delivered: "
        "you will hear no more unless something goes wrong."
    )


def _delivered(_: Origin, found: list[Outcome]) -> str:
    return f"It was delivered to {_these(found)}."


_OPENINGS: dict[Action, Callable[[Origin, list[Outcome]], str]] = {
    Action.FAILED: _failed,
    Action.EXPIRED: _expired,
    Action.DELAYED: _delayed,
    Action.RELAYED: _relayed,
    Action.DELIVERED: _delivered,
}


def _these(found: list[Outcome]) -> str:
    return "this recipient" if len(found) == 1 else f"these {len(found)} recipients"


def _told(origin: Origin, outcome: Outcome, hostname: str, *, advise: bool) -> str:
    """One recipient's lines."""
    status = outcome.status
    address = visible(origin.envelope.recipients[outcome.recipient].address)[:LONGEST_VALUE]
    text = f"<{address}>\n"
    if outcome.action in (Action.RELAYED, Action.DELIVERED):
        return text + (f"    after a delay of {_age(origin, [outcome])}\n" if outcome.warned else "")
    why = reason(status)
    text += _wrapped(why.why, "    ")
    if advise:
        text += _wrapped(why.advice, "    ")
    said = f"{host_of(status, hostname)} said:" if status.code else "In technical words:"
    return text + f"    {said}\n" + _wrapped(words(status), "        ")


def _age(origin: Origin, found: list[Outcome]) -> str:
    """How long it took up to the last of these attempts."""
    return _span(max(each.attempted for each in found) - origin.envelope.arrived)


def _span(seconds: float) -> str:
    """A time in the largest unit that it has one of, for a person."""
    for unit, length in _UNITS:
        count = round(seconds / length)
        if count >= 1 and seconds >= length:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _wrapped(text: str, indent: str = "") -> str:
    """Words in lines of up to 72 characters; a longer word has a line of its own."""
    lines: list[str] = []
    line = indent
    for word in text.split():
        if line.strip() and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = indent
        line += f" {word}" if line.strip() else word
    return "\n".join([*lines, line]) + "\n"
