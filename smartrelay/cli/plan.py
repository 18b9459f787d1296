"""`smartrelay flush --dry-run`: where each message would go."""

import json
import time
from collections.abc import Callable

import click

from smartrelay import config as configuration
from smartrelay.cli.caller import Common
from smartrelay.errors import EX_OK
from smartrelay.mail.envelope import Envelope
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.spool.listing import Entry, entries


def show_plan(common: Common, wanted: Callable[[Envelope, str], bool] | None, *, everything: bool, as_json: bool) -> int:
    """Prints a line for each recipient that a pass would send to now; touches nothing. Raises ConfigError."""
    routes = Routes.of(configuration.load(common.config, common.spool), secrets=False)
    found = common.enter_spool()
    now = time.time()
    for entry in entries(found.spool):
        due = entry.state == "new" or entry.due <= now or everything
        if entry.state == "held" or not due or (wanted is not None and not wanted(entry.envelope, entry.queue_id)):
            continue
        for address, hop in _ways(entry, routes):
            click.echo(_as_json(entry, address, hop) if as_json else _as_text(entry, address, hop))
    return EX_OK


def _ways(entry: Entry, routes: Routes) -> list[tuple[str, NextHop | None]]:
    envelope = entry.envelope
    recipients = [envelope.recipients[index].address for index in entry.history.waiting]
    return [(address, routes.next_hop(envelope.reverse_path or address, address)) for address in recipients]


def _as_text(entry: Entry, address: str, hop: NextHop | None) -> str:
    if hop is None:
        return f"{entry.queue_id}\t{address}\tnowhere: no [[relay]] rule matches"
    return f"{entry.queue_id}\t{address}\t{hop.name}: {', '.join(map(str, hop.endpoints))}"


def _as_json(entry: Entry, address: str, hop: NextHop | None) -> str:
    hosts = [str(endpoint) for endpoint in hop.endpoints] if hop else []
    return json.dumps({"queue_id": entry.queue_id, "recipient": address, "relay": hop.name if hop else None, "hosts": hosts})
