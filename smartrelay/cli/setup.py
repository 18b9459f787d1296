"""`smartrelay setup`: shows what it would put in place or take away, asks, and does it."""

import sys

import click

from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.options import common_options
from smartrelay.errors import EX_OK
from smartrelay.installation.install import Options, installation, site
from smartrelay.installation.removal import removal


@click.command("setup")
@click.option("--user", is_flag=True, help="For your own account: everything below your home, no root needed.")
@click.option("--remove", is_flag=True, help="Take away what setup put in place. Mail and changed files stay.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--root",
    metavar="DIR",
    default="",
    shell_complete=suggest.directories,
    help="Put everything below this directory, as for an image.",
)
@click.option("--no-sendmail", is_flag=True, help="Leave sendmail, mailq and newaliases as they are.")
@click.option("--no-units", is_flag=True, help="No files for systemd: something else starts the passes.")
@common_options
def setup(
    *,
    user: bool,
    remove: bool,
    yes: bool,
    dry_run: bool,
    root: str,
    no_sendmail: bool,
    no_units: bool,
    common: Common,
) -> int:
    """Put units, links, user, spool, man pages and completions in their places, or take them away.

    What would be done is shown first, one line each. Without a terminal to ask on, nothing is done unless --yes is
    given.

    \b
    Examples:
      smartrelay setup --dry-run
      smartrelay setup --user
      smartrelay setup --remove
    """
    options = Options(user, root, common.config, common.spool, not no_sendmail, not no_units)
    here = site(options)
    plan = removal(here) if remove else installation(here, options)
    if not plan.steps:
        common.say("there is nothing to remove" if remove else "everything is in its place")
        return EX_OK
    if dry_run or not yes:
        for line in plan.lines():
            click.echo(f"would {line}")
    for remark in plan.remarks if common.verbosity >= 0 else ():
        click.echo(remark, err=True)  # without our name before it: one is a line for a crontab
    if not dry_run and (yes or _agreed()):
        plan.apply(click.echo)
    return EX_OK


def _agreed() -> bool:
    if not sys.stdin.isatty():
        click.echo("nothing was changed; give --yes to do it", err=True)
        return False
    return click.confirm("Do it?", err=True)
