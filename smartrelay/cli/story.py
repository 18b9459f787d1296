"""`smartrelay queue show`: one message's story."""

import json
import shutil
import sys
from collections.abc import Sequence

import click

from smartrelay import duration
from smartrelay.cli.expiry import Expiry
from smartrelay.cli.listing import age, as_object, expires, queue_name, reason, recipients
from smartrelay.cli.moment import moment
from smartrelay.cli.timeline import filled, timeline
from smartrelay.cli.way import Way
from smartrelay.errors import ConfigError
from smartrelay.mail.status import Status, visible
from smartrelay.spool.listing import Entry

Ways = list[tuple[list[str], Way]]
"""Recipients, and the way that they go together."""


def write_story(
    entry: Entry, expiry: Expiry | None, ways: Ways | ConfigError, why: Sequence[str], now: float, *, as_json: bool
) -> None:
    """Envelope, state, which way it goes, what happened, why it waits, when it goes next, and when it is given up. expiry: None
    where that is not known. ways: or what is wrong with the configuration. why: sentences."""
    if as_json:
        known = None if isinstance(ways, ConfigError) else [{"recipients": to, **way.as_dict()} for to, way in ways]
        more = {"age": age(entry, expiry), "recipients": recipients(entry), "why": why, "path": entry.path, "ways": known}
        click.echo(json.dumps({**as_object(entry, expiry), **more, "journal": entry.history.events}))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = [line for head, text in (*_envelope(entry), *_ways(ways, now)) for line in filled(f"{head:<13}", text, width)]
    lines += ["", "What happened:", *timeline(entry, width), ""]
    for sentence in (*why, *_next(entry, now), *_end(entry, expiry, now)):
        lines += filled("", sentence, width)
    click.echo("\n".join(lines))


def _ways(ways: Ways | ConfigError, now: float) -> list[tuple[str, str]]:
    if isinstance(ways, ConfigError):
        return [("Way", visible(f"not known: {ways}"))]
    return [("Way", f"{way.words(now)}{f' for {_listed(to)}' if len(ways) > 1 else ''}") for to, way in ways]


def _listed(addresses: list[str]) -> str:
    more = f" and {len(addresses) - 5} more" if len(addresses) > 5 else ""
    return f"{', '.join(f'<{address}>' for address in addresses[:5])}{more}"


def _envelope(entry: Entry) -> list[tuple[str, str]]:
    envelope = entry.envelope
    rows = [
        ("Queue id", f"{entry.queue_id} ({queue_name(entry)})"),
        ("Arrived", f"{moment(envelope.arrived)}, from uid {envelope.uid}"),
        ("Message-ID", envelope.message_id),
        ("Size", f"{envelope.facts.octets} octets"),
        ("File", entry.path),
        ("Sender", f"<{envelope.reverse_path}>"),
    ]
    alike: dict[Status | None, list[str]] = {}
    for recipient, status in zip(envelope.recipients, entry.history.last, strict=True):
        alike.setdefault(status, []).append(f"<{recipient.address}>")
    for status, named in alike.items():
        came = f"{status.action}, {reason(status)}" if status else "not tried yet"
        rows.append(("Recipient" if len(named) == 1 else "Recipients", f"{', '.join(named)}: {came}"))
    return rows


def _next(entry: Entry, now: float) -> list[str]:
    if entry.state == "held":
        return []
    if entry.due <= now:
        return ["It goes with the next pass."]
    return [f"Next attempt {moment(entry.due)}, in {duration.short(entry.due - now)}."]


def _end(entry: Entry, expiry: Expiry | None, now: float) -> list[str]:
    if expiry is None:
        return ["When it is given up is not known, for the configuration cannot be read."]
    found = age(entry, expiry)
    if found is None:
        return []
    aged = f"{duration.short(found)} of {duration.short(expiry.lifetime)}"
    at = expires(entry, expiry)
    if at is None:
        return [f"Of its lifetime {aged} are over."]
    if at <= now:
        return [f"Its lifetime is over ({aged}): it is given up with its next attempt, unless that delivers it."]
    return [f"It expires about {moment(at)}, if it is not held or offline until then (of its lifetime {aged} are over)."]
