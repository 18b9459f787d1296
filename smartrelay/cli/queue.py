"""`smartrelay queue`: look at the queue, and act on messages in it."""

import sys
import time
from collections.abc import Callable

import click

from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.dump import as_line, tell_set_aside
from smartrelay.cli.expiry import expiry
from smartrelay.cli.options import Duration, common_options
from smartrelay.cli.rows import ORDERS, ordered, rows
from smartrelay.cli.select import Chosen, Filters, filter_options, select
from smartrelay.errors import EX_IOERR, EX_OK, EX_TEMPFAIL, ConfigError, SmartRelayError
from smartrelay.spool import operate, queue_id
from smartrelay.spool.listing import entry


@click.group("queue")
@common_options
def queue(common: Common) -> None:
    """Look at the queue, and act on messages in it.

    \b
    Examples:
      smartrelay queue list --older-than 1h
      smartrelay queue retry --recipient '*@example.org'
    """


@queue.command("list")
@filter_options
@click.option(
    "--sort", "by", type=click.Choice(ORDERS), default="age", help="By what the messages are sorted; the default is age."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as Postfix's `postqueue -j`.")
@common_options
def list_(filters: Filters, by: str, reverse: bool, as_json: bool, common: Common) -> int:
    """List the queue: a table on a terminal, tab-separated text in a pipe.

    \b
    Examples:
      smartrelay queue list
      smartrelay queue list --sort size --recipient '*@example.org'
      smartrelay queue list --older-than 1d --json
    """
    known = expiry(common)
    from smartrelay.cli.layouts import write_tabs
    from smartrelay.cli.table import write_table

    spool, now = common.enter_spool().spool, time.time()
    found = ordered(filters.of(rows(spool), now), by, reverse=reverse)
    if as_json:
        sys.stdout.writelines(as_line(row.seen, known) for row in found)
    elif sys.stdout.isatty():
        write_table(found, known, now, sys.stdout)
    else:
        write_tabs(found)
    tell_set_aside(common, spool)
    return EX_OK


@queue.command("show")
@click.argument("one", metavar="ID", shell_complete=suggest.every)
@click.option("--raw", is_flag=True, help="The message itself, as stored.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@common_options
def show(one: str, raw: bool, as_json: bool, common: Common) -> int:
    """Show one message: its envelope, what came of each attempt, why it waits, when it goes next, when it is given up.

    \b
    Example:
      smartrelay queue show 25X0LCH4YW6W9QYPF
    """
    from smartrelay.cli import way
    from smartrelay.cli.story import write_story
    from smartrelay.cli.waiting import why

    known, rules = expiry(common), way.rules(common)
    spool = common.enter_spool().spool
    found = entry(spool, queue_id.parse(one))
    if raw:
        with open(found.path, "rb") as file:
            file.readline()
            while block := file.read(1 << 16):
                sys.stdout.buffer.write(block)
        return EX_OK
    now = time.time()
    ways = rules if isinstance(rules, ConfigError) else way.waiting_ways(found, rules, way.memory_of(spool, common.say))
    write_story(found, known, ways, why(found, spool, now, common.say), now, as_json=as_json)
    return EX_OK


@queue.command("retry")
@filter_options
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.waiting)
@click.option("--all", "everything", is_flag=True, help="Every message that waits.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for a message that is being delivered.")
@common_options
def retry(filters: Filters, ids: tuple[str, ...], everything: bool, wait: float, common: Common) -> int:
    """Make messages due now; the next pass sends them. `-` reads ids from standard input.

    The hosts that they wait for are taken off the bad-host memory.

    \b
    Examples:
      smartrelay queue retry 25X0LCH4YW6W9QYPF
      smartrelay queue retry --recipient '*@example.org'
    """
    from smartrelay.cli.forgiving import Forgiving

    forgiving = Forgiving(common)
    chosen = select(common, ids, filters, everything=everything, but=("held",), each=forgiving.add)
    # before the first is due: a pass may be waiting for it
    forgiven = forgiving.forgive(chosen.spool)
    code = _each(common, chosen, "will be tried now", lambda spool, one: operate.retry(spool, one, wait=wait))
    return code if forgiven else code or EX_IOERR


@queue.command("delete")
@filter_options
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.every)
@click.option("--bounce", is_flag=True, help="Tell the senders.")
@click.option("--all", "everything", is_flag=True, help="Every message in the queue.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for a message that is being delivered.")
@common_options
def delete(
    filters: Filters, ids: tuple[str, ...], bounce: bool, everything: bool, yes: bool, wait: float, common: Common
) -> int:
    """Remove messages for good, without a bounce unless it is asked for. Asks on a terminal.

    \b
    Examples:
      smartrelay queue delete 25X0LCH4YW6W9QYPF
      smartrelay queue delete --sender cron@host.example --yes
    """
    if bounce:
        from smartrelay.cli import giving_up

        act = giving_up.prepared(common, giving_up.removed, wait)
    else:
        act = lambda spool, one: operate.delete(spool, one, wait=wait)  # noqa: E731
    chosen = select(common, ids, filters, everything=everything)
    if not yes:
        _confirm(chosen, "Delete {} and tell the senders?" if bounce else "Delete {} for good?")
    return _each(common, chosen, "deleted", act)


@queue.command("expire")
@filter_options
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.every)
@click.option("--all", "everything", is_flag=True, help="Every message in the queue.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for a message that is being delivered.")
@common_options
def expire(filters: Filters, ids: tuple[str, ...], everything: bool, yes: bool, wait: float, common: Common) -> int:
    """Give messages up now, as if their lifetime were over: the senders get a bounce. Asks on a terminal.

    \b
    Examples:
      smartrelay queue expire 25X0LCH4YW6W9QYPF
      smartrelay queue expire --recipient '*@gone.example' --yes
    """
    from smartrelay.cli import giving_up

    act = giving_up.prepared(common, giving_up.expired, wait)
    chosen = select(common, ids, filters, everything=everything)
    if not yes:
        _confirm(chosen, "Give up {} and tell the senders?")
    return _each(common, chosen, "given up", act)


@queue.command("hold")
@filter_options
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.waiting)
@click.option("--all", "everything", is_flag=True, help="Every message that waits.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for a message that is being delivered.")
@common_options
def hold(filters: Filters, ids: tuple[str, ...], everything: bool, wait: float, common: Common) -> int:
    """Set messages aside: no pass sends them until they are released.

    \b
    Example:
      smartrelay queue hold --sender newsletter@example.org
    """
    chosen = select(common, ids, filters, everything=everything, but=("held",))
    return _each(common, chosen, "held", lambda spool, one: operate.hold(spool, one, wait=wait))


@queue.command("release")
@filter_options
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.held)
@click.option("--all", "everything", is_flag=True, help="Every message that is held.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for a message that is in use.")
@common_options
def release(filters: Filters, ids: tuple[str, ...], everything: bool, wait: float, common: Common) -> int:
    """Take held messages back; the next pass sends them.

    \b
    Example:
      smartrelay queue release --all
    """
    chosen = select(common, ids, filters, everything=everything, but=("new", "waiting"))
    return _each(common, chosen, "released", lambda spool, one: operate.release(spool, one, wait=wait))


def _confirm(chosen: Chosen, question: str) -> None:
    """Asks on a terminal. Raises click.Abort where the answer is no."""
    count = len(chosen.ids)
    if count and sys.stdin.isatty():
        click.confirm(question.format(f"{count} message{'' if count == 1 else 's'}"), abort=True, err=True)


def _each(common: Common, chosen: Chosen, done: str, act: Callable[[str, str], None]) -> int:
    """Acts on each message; the first error's code when one could not be dealt with, after the others were."""
    code = EX_OK
    count = 0
    for one in chosen.ids:
        try:
            act(chosen.spool, one)
            count += 1
        except SmartRelayError as error:
            common.say(str(error))
            code = code or error.exit_code or EX_TEMPFAIL
    common.say(f"{count} message{'' if count == 1 else 's'} {done}")
    return code
