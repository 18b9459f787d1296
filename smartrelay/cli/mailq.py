"""The queue as `mailq` shows it, and the sendmail command's help."""

import os

import click

from smartrelay import settings
from smartrelay.cli.caller import Common
from smartrelay.cli.layouts import write_postfix, write_sendmail
from smartrelay.cli.options import common_options
from smartrelay.cli.rows import rows
from smartrelay.errors import EX_OK
from smartrelay.spool.in_hand import in_hand

_SENDMAIL_HELP = """\
Usage: smartrelay-sendmail [-t] [-i] [-f SENDER] [-F NAME] [-v] [ADDRESS]...

Reads a message from standard input and puts it into the queue; `smartrelay flush` sends it.

  -t         take recipients from To, Cc and Bcc as well
  -i, -oi    a line with a lone dot does not end the message
  -f SENDER  the envelope sender
  -F NAME    the full name for a From field, where the message has none
  -N WHEN    notices wanted: never, or failure, delay, success with commas
  -R WHAT    what a notice returns: full or hdrs
  -V ID      envelope id for notices
  -v         say the queue id; on a terminal send at once and show the dialogue
  -odi       on a terminal send at once (also: -odf; not: -odb, -odq)
  -bp        list the queue (also: mailq); --format sendmail: as that program does
  -q         make a pass over the queue now (also: runq); -qIID, -qRPART, -qSPART: over some of it
  -bv        say where mail for the addresses would go; send nothing

Other options of sendmail are taken and have no effect here; see smartrelay-sendmail(8).
Called as mailq, newaliases, runq or send-mail it behaves as that program.
"""


@click.command("mailq", hidden=True)
@click.option("--format", "layout", type=click.Choice(["postfix", "sendmail"]), default="postfix", help="Whose layout.")
@common_options
def mailq(layout: str, common: Common) -> int:
    """The queue as the mailq of another program shows it, for programs that read that.

    \b
    Example:
      mailq --format sendmail
    """
    spool = settings.load(common.config, common.spool).spool
    # before the first message there is no spool, and monitoring must find an empty queue
    is_there = os.path.lexists(spool)
    found = rows(common.enter_spool().spool) if is_there else iter(())
    if layout == "sendmail":
        write_sendmail(found, spool)
    else:
        write_postfix(found, in_hand(spool) if is_there else ())
    return EX_OK


@click.command("sendmail-run", hidden=True)
@click.argument("like")
@common_options
def sendmail_run(like: str, common: Common) -> int:
    """`sendmail -qI`, `-qR` and `-qS`: a pass over the mail that has this in its id, a recipient or its sender."""
    from smartrelay.cli.passes import Passes
    from smartrelay.cli.wish import Wish

    return Passes(common, Wish(like=like), wait=0.0, fail_if_busy=False, as_json=False).run()


@click.command("sendmail-help", hidden=True)
@common_options
def sendmail_help(common: Common) -> int:
    """The sendmail command's options."""
    click.echo(_SENDMAIL_HELP, nl=False)
    return EX_OK
