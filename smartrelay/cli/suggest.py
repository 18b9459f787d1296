"""What a shell offers for the next word: ids, addresses and hosts that there are. Whoever may not look is offered nothing."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice, takewhile

import click
from click.shell_completion import CompletionItem

from smartrelay import settings
from smartrelay.errors import SmartRelayError
from smartrelay.spool import names
from smartrelay.spool.glance import Place

_LOOKED_AT = 1000
"""Messages that are read for their addresses: a key was pressed, and somebody waits."""

_DESCRIBED = 100
_MANY = 500

Suggest = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def ids(*directories: str) -> Suggest:
    """Offers the messages in these directories of the spool, but for those that are named already. Of very many only the next
    character is offered."""

    def suggest(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        spool = _spool(context)
        found = _named(spool, directories, begun.upper())
        if len(found) > _MANY:
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(min(found), max(found), strict=False))
            length = len(list(alike)) + 1
            return [CompletionItem(start) for start in sorted({name[:length] for name in found})]
        named = frozenset(_given(context, parameter))
        places = [place for place in _placed(spool, found) if place.queue_id not in named]
        if len(places) > _DESCRIBED:
            return [CompletionItem(place.queue_id) for place in places]
        return list(_described(spool, places))

    return suggest


every = ids(names.NEW, names.CUR, names.HOLD)
waiting = ids(names.NEW, names.CUR)
held = ids(names.HOLD)


def senders(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the senders of mail in the queue."""
    return _addresses((sender or "<>" for sender, _ in _mail(context)), begun)


def recipients(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the recipients of mail in the queue."""
    return _addresses((address for _, to in _mail(context) for address in to), begun)


def domains(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the domains that mail in the queue is for."""
    return _addresses((address.rpartition("@")[2].lower() for _, to in _mail(context) for address in to), begun)


def hosts(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the bad hosts, with what is wrong with each."""
    from smartrelay.routing.bad_hosts import BadHosts

    spool, named = _spool(context), frozenset(_given(context, parameter))
    memory = BadHosts(f"{spool}/hosts.json", None, timeout=math.inf, warn=lambda sentence: None)
    found = (host for host in memory.entries() if host.key not in named)
    return [CompletionItem(host.key, help=host.reason) for host in found if host.key.startswith(begun.lower())]


def relays(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the names of the rules; a URL of theirs may have a password in it."""
    from smartrelay import config

    try:
        said = _said(context)
        found = config.load(said.get("config", ""), said.get("spool", "")).relays
    except SmartRelayError:
        return []
    return [CompletionItem(rule.name) for rule in found if rule.name.startswith(begun)]


def files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Leaves it to the shell, which knows the files."""
    return [CompletionItem(begun, type="file")]


def directories(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Leaves it to the shell, which knows the directories."""
    return [CompletionItem(begun, type="dir")]


def _given(context: click.Context, parameter: click.Parameter) -> Iterable[str]:
    found = context.params.get(parameter.name or "")
    return found if isinstance(found, tuple) else ()


def _said(context: click.Context) -> dict[str, str]:
    """--config and --spool, where the words before have them; the last counts."""
    said: dict[str, str] = {}
    at: click.Context | None = context
    while at is not None:
        said = {name: str(value) for name in ("config", "spool") if (value := at.params.get(name))} | said
        at = at.parent
    return said


def _spool(context: click.Context) -> str:
    """The spool that the words before name; no directory where it cannot be known."""
    try:
        return settings.load(**_said(context)).spool
    except SmartRelayError:
        return "/nonexistent"


def _named(spool: str, directories: Iterable[str], begun: str) -> dict[str, str]:
    """The names in these directories that begin so, and the directory of each."""
    found: dict[str, str] = {}
    for directory in directories:
        with suppress(OSError):
            found |= {name: directory for name in os.listdir(f"{spool}/{directory}") if name.startswith(begun)}
    return found


def _placed(spool: str, found: dict[str, str]) -> Iterator[Place]:
    """Those of these names that are a message's, oldest first."""
    for name in sorted(found):
        parts = names.split(name)
        if parts is not None:
            yield Place(parts[0], found[name], name, parts[1], os.path.exists(f"{spool}/state/{parts[0]}"))


def _mail(context: click.Context) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sender and recipients of the oldest messages."""
    from smartrelay.cli.rows import rows

    with suppress(OSError):
        for row in islice(rows(_spool(context)), _LOOKED_AT):
            yield row.sender, row.recipients


def _described(spool: str, places: Iterable[Place]) -> Iterator[CompletionItem]:
    """Each message with what a person knows it by."""
    from smartrelay.cli.rows import row_at

    for place in places:
        row = row_at(spool, place)
        if row is not None:
            more = f" +{len(row.waiting) - 1}" if len(row.waiting) > 1 else ""
            yield CompletionItem(row.queue_id, help=f"{row.sender or '<>'} to {row.addressee}{more}")


def _addresses(found: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(one) for one in dict.fromkeys(found) if one.lower().startswith(begun.lower())]
