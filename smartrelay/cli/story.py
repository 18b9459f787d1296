"""`smartrelay queue show`: one message's story."""

import json
import time

import click

from smartrelay.cli.listing import as_object, queue_name, reason
from smartrelay.cli.moment import moment
from smartrelay.cli.way import Way
from smartrelay.errors import ConfigError
from smartrelay.mail.status import visible
from smartrelay.spool.history import results
from smartrelay.spool.journal import Event
from smartrelay.spool.listing import Entry

_WORDS = {"hold": "held by an operator", "release": "released by an operator", "retry": "made due by an operator"}


Ways = list[tuple[list[str], Way]]
"""Recipients, and the way that they go together."""


def write_story(entry: Entry, ways: Ways | ConfigError, *, as_json: bool) -> None:
    """Envelope, state, each attempt, and when and where it goes next. ways: or what is wrong with the configuration."""
    if as_json:
        known = None if isinstance(ways, ConfigError) else [{"recipients": to, **way.as_dict()} for to, way in ways]
        click.echo(json.dumps({**as_object(entry), "path": entry.path, "ways": known, "journal": entry.history.events}))
        return
    envelope = entry.envelope
    lines = [
        f"Queue id     {entry.queue_id} ({queue_name(entry)})",
        f"Arrived      {moment(envelope.arrived)}, from uid {envelope.uid}",
        f"Message-ID   {envelope.message_id}",
        f"Size         {envelope.facts.octets} octets",
        f"File         {entry.path}",
        f"Sender       <{envelope.reverse_path}>",
    ]
    for index, recipient in enumerate(envelope.recipients):
        status = entry.history.last[index]
        lines.append(
            f"Recipient    <{recipient.address}>: {f'{status.action}, {reason(status)}' if status else 'not tried yet'}"
        )
    lines += _ways(ways, time.time())
    lines += _events(entry)
    lines.append(_next(entry))
    click.echo("\n".join(lines))


def _ways(ways: Ways | ConfigError, now: float) -> list[str]:
    if isinstance(ways, ConfigError):
        return [visible(f"Way          not known: {ways}")]
    return [f"Way          {way.words(now)}{f' for {_listed(to)}' if len(ways) > 1 else ''}" for to, way in ways]


def _listed(addresses: list[str]) -> str:
    more = f" and {len(addresses) - 5} more" if len(addresses) > 5 else ""
    return f"{', '.join(f'<{address}>' for address in addresses[:5])}{more}"


def _events(entry: Entry) -> list[str]:
    lines = []
    for event in entry.history.events:
        when = moment(event.get("time", 0))
        if event["event"] == "attempt":
            lines += [f"  {when}  {line}" for line in _attempt(entry, event)]
            if "notice" in event:
                lines.append(f"  {when}  a bounce was called for")
        elif event["event"] == "postponed":
            turn = moment(event.get("until") or 0)
            lines.append(f"  {when}  the rate of {event.get('relay')} was used up; its turn comes {turn}")
        elif event["event"] in _WORDS:
            lines.append(f"  {when}  {_WORDS[event['event']]}")
        elif event["event"] == "bounced":
            lines.append(f"  {when}  the bounce was queued")
    return ["What happened:", *lines] if lines else []


def _attempt(entry: Entry, event: Event) -> list[str]:
    try:
        found = results(event)
    except (KeyError, TypeError, ValueError):
        return ["an attempt that cannot be read"]
    recipients = entry.envelope.recipients
    return [
        f"{status.action} <{recipients[index].address}> by {event['relay']}{f' while {status.phase}' if status.phase else ''}: "
        f"{status.dsn} {reason(status)}"
        for index, status in found
        if index < len(recipients)
    ]


def _next(entry: Entry) -> str:
    if entry.state == "held":
        return "It is held and goes nowhere until it is released."
    now = time.time()
    return "It goes with the next pass." if entry.due <= now else f"Next attempt {moment(entry.due)}."
