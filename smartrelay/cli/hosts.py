"""`smartrelay hosts`: look at the bad-host memory, and take hosts off it."""

import json
import math
import sys
from collections.abc import Callable, Iterable
from functools import partial

import click

from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.options import common_options
from smartrelay.errors import EX_NOINPUT, EX_OK, SpoolError
from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.spool.lock import hosts_lock


@click.group("hosts")
@common_options
def hosts(common: Common) -> None:
    """Look at the bad-host memory, and take hosts off it.

    \b
    Examples:
      smartrelay hosts list
      smartrelay hosts reset smtp.example.org
    """


@hosts.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@common_options
def list_(as_json: bool, common: Common) -> int:
    """List the bad hosts: a table on a terminal, tab-separated text in a pipe.

    \b
    Examples:
      smartrelay hosts list
      smartrelay hosts list --json
    """
    found = _memory(common).entries()
    if as_json:
        _write_json(found)
    elif sys.stdout.isatty():
        from smartrelay.cli.hosts_table import write_table

        write_table(found)
    else:
        _write_tabs(found)
    return EX_OK


@hosts.command("reset")
@click.argument("names", nargs=-1, metavar="[HOST]...", shell_complete=suggest.hosts)
@common_options
def reset(names: tuple[str, ...], common: Common) -> int:
    """Forget that hosts are bad, so that the next pass asks them at once; without HOST all of them.

    HOST is as `hosts list` shows it; without a port it stands for all ports.

    \b
    Examples:
      smartrelay hosts reset
      smartrelay hosts reset mx1.example.org:25
    """
    memory = _memory(common)
    found = {name: memory.reset([name]) for name in names}
    forgotten = [key for keys in found.values() for key in keys] if names else memory.reset()
    if not memory.save():
        raise SpoolError("the bad-host memory is as it was")
    code = EX_OK
    for name, keys in found.items():
        if not keys:
            common.say(f"{name or repr(name)} is not in the bad-host memory; `smartrelay hosts list` shows what is")
            code = EX_NOINPUT
    count = len(forgotten)
    common.say(f"{count} host{'' if count == 1 else 's'} forgotten")
    return code


def _memory(common: Common) -> BadHosts:
    return memory_of(common.enter_spool().spool, common.say)


def memory_of(spool: str, warn: Callable[[str], None]) -> BadHosts:
    """The memory, to be changed, with whatever time-out it was written by: it stands in each entry."""
    return BadHosts(f"{spool}/hosts.json", partial(hosts_lock, spool), timeout=math.inf, warn=warn)


def _write_json(found: Iterable[BadHost]) -> None:
    for host in found:
        row = {"host": host.key, "reason": host.reason, "since": int(host.since), "until": int(host.until)}
        sys.stdout.write(json.dumps({**row, "probe": int(host.probe), "failures": host.failures}) + "\n")


def _write_tabs(found: Iterable[BadHost]) -> None:
    """One line a host: host, since, until, next probe, failures, reason."""
    for host in found:
        times = f"{int(host.since)}\t{int(host.until)}\t{int(host.probe)}"
        sys.stdout.write(f"{host.key}\t{times}\t{host.failures}\t{host.reason or '-'}\n")
