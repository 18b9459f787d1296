"""`smartrelay flush`: one pass over what is due, or a loop of passes."""

import click

from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.options import Duration, common_options
from smartrelay.cli.passes import Passes
from smartrelay.cli.wish import Wish
from smartrelay.errors import UsageError
from smartrelay.spool import queue_id


@click.command("flush")
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=suggest.waiting)
@click.option("--all", "everything", is_flag=True, help="Everything but held mail, whatever its next attempt.")
@click.option("--domain", metavar="D", default="", shell_complete=suggest.domains, help="Only mail for this domain.")
@click.option("--sender", metavar="A", default="", shell_complete=suggest.senders, help="Only mail from this envelope sender.")
@click.option("--dry-run", is_flag=True, help="Say where each message would go; touch nothing.")
@click.option("--wait", type=Duration(), default=0.0, metavar="DURATION", help="Wait for another pass to end.")
@click.option("--fail-if-busy", is_flag=True, help="Exit with 75 when another pass is at work.")
@click.option("--every", type=Duration(), metavar="DURATION", help="Go on for ever, at this distance and at once for new mail.")
@click.option("--listen", is_flag=True, help="With --every: serve the submission sockets, too.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@common_options
def flush(
    ids: tuple[str, ...],
    everything: bool,
    domain: str,
    sender: str,
    dry_run: bool,
    wait: float,
    fail_if_busy: bool,
    every: float | None,
    listen: bool,
    as_json: bool,
    common: Common,
) -> int:
    """Relay what is due: one pass over the queue, under a lock.

    \b
    Examples:
      smartrelay flush
      smartrelay flush --domain example.org
      smartrelay flush --every 1m --listen        (in a container)
    """
    wish = Wish(frozenset(map(queue_id.parse, ids)), domain.lower().rstrip("."), sender.strip("<>").lower(), everything)
    if every is not None and (wish.told or as_json or dry_run):
        raise UsageError("--every takes no ID, --all, --domain, --sender, --dry-run or --json")
    if every is not None and every < 1:
        raise UsageError("--every takes at least 1s")
    if listen and every is None:
        raise UsageError("--listen goes with --every; without it, socket units start the server (`smartrelay setup`)")
    if dry_run:
        from smartrelay.cli.plan import show_plan

        return show_plan(common, wish.chosen, due_or_not=wish.told, forgiving=everything, as_json=as_json)
    passes = Passes(common, wish, wait=wait, fail_if_busy=fail_if_busy, as_json=as_json)
    return passes.run(every, listen=listen)
