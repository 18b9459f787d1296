"""`smartrelay flush --dry-run`: where each message would go."""

import json
import time
from collections.abc import Callable, Iterator

import click

from smartrelay import config as configuration
from smartrelay.cli.caller import Common
from smartrelay.cli.way import Way, Ways, memory_of
from smartrelay.errors import EX_OK
from smartrelay.mail.envelope import Envelope
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.routing.resolver import DNSResolver
from smartrelay.routing.resolver import load as load_resolver
from smartrelay.spool.listing import entries

Wanted = Callable[[Envelope, str], bool]


def show_plan(common: Common, wanted: Wanted | None, *, due_or_not: bool, forgiving: bool, as_json: bool) -> int:
    """Prints a line for each recipient that a pass would send to now; touches nothing.

    wanted: which messages, None for all. due_or_not: whatever their time. forgiving: whatever the bad-host memory says.
    Raises ConfigError.
    """
    config = configuration.load(common.config, common.spool)
    routes = Routes.of(config, secrets=False)
    if routes.ask_for_exchangers:
        load_resolver()
    spool = common.enter_spool().spool
    memory = memory_of(spool, common.say, config.mx.bad_host_timeout)
    resolver = DNSResolver(config.mx.nameservers, config.timeouts.lookup)
    ways = Ways(config, routes, resolver, memory, forgiving=forgiving)
    planned = list(_planned(spool, routes, wanted, due_or_not=due_or_not))
    ways.prepare((hop for _, _, hop in planned), config.limits.max_connections)
    now = time.time()
    for one, address, hop in planned:
        way = ways.of(hop)
        click.echo(_as_json(one, address, way) if as_json else f"{one}\t{address}\t{way.words(now)}")
    return EX_OK


def _planned(
    spool: str, routes: Routes, wanted: Wanted | None, *, due_or_not: bool
) -> Iterator[tuple[str, str, NextHop | None]]:
    """Id, recipient and next hop of what would be sent."""
    now = time.time()
    for entry in entries(spool):
        due = entry.state == "new" or entry.due <= now or due_or_not
        if entry.state == "held" or not due or (wanted is not None and not wanted(entry.envelope, entry.queue_id)):
            continue
        for index in entry.history.waiting:
            address = entry.envelope.recipients[index].address
            yield entry.queue_id, address, routes.next_hop(entry.envelope.reverse_path, address)


def _as_json(one: str, address: str, way: Way) -> str:
    return json.dumps({"queue_id": one, "recipient": address, **way.as_dict()})
