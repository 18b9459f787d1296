"""`smartrelay check`: every part of the configuration tried for real, without sending anything."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import click

from smartrelay import settings
from smartrelay.checks.examination import Wish, examine
from smartrelay.checks.finding import FAIL, OK, WARN, Finding, worst
from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.options import Duration, common_options
from smartrelay.cli.screen import Screen
from smartrelay.errors import ConfigError
from smartrelay.mail.status import visible

_LONGEST = 3600.0

_CODES = {OK: 0, WARN: 1, FAIL: 2}


@click.command("check")
@click.option(
    "--relay", metavar="NAME", default="", shell_complete=suggest.relays, help="Only the secret and hosts of this rule."
)
@click.option(
    "--timeout",
    type=Duration(),
    default=10.0,
    metavar="DURATION",
    help="How long each step of a host may take, 10s by default; all of them may take twice as long.",
)
@click.option("--json", "json_wanted", is_flag=True, help="All of it as one JSON document.")
@common_options
def check(relay: str, timeout: float, json_wanted: bool, common: Common) -> int:
    """Try every part of the configuration, and send nothing: secrets, DNS, each host with TLS and sign-in, spool, clock.

    Each line says what was tried, what is wrong and how to mend it; -v shows what is said to the hosts. Exits 0 when all is
    good, 1 with warnings, 2 with errors.

    \b
    Examples:
      smartrelay check
      smartrelay check --relay work --timeout 30s
    """
    if not 1 <= timeout <= _LONGEST:
        raise click.BadParameter("must be from 1s to 1h", param_hint="--timeout")
    on_terminal = sys.stdout.isatty() and not json_wanted
    if on_terminal:
        import smartrelay.cli.check_table  # noqa: F401  # while root can
    try:
        found = settings.load(common.config, common.spool)
    except ConfigError as error:
        findings = [Finding(FAIL, "configuration", str(error))]
    else:
        listener = Screen().show if common.verbosity > 0 else None
        with _patience(shown=on_terminal and listener is None):
            findings = examine(Wish(common.config, common.spool, relay, timeout, listener), found)
    if json_wanted:
        click.echo(json.dumps(_document(findings), indent=2))
    elif on_terminal:
        from smartrelay.cli.check_table import write_table

        write_table(findings)
    else:
        for finding in findings:
            click.echo(_line(finding))
    return _CODES[worst(findings)]


def _patience(*, shown: bool) -> AbstractContextManager[object]:
    """Something that moves while a person waits."""
    if not shown:
        return nullcontext()
    from smartrelay.cli.check_table import patience

    return patience()


def _line(finding: Finding) -> str:
    return "\t".join(map(visible, (finding.status, finding.what, "; ".join(filter(None, (finding.words, finding.mend))))))


def _document(findings: Sequence[Finding]) -> dict[str, object]:
    """For programs; a member that says nothing is null, and times are in whole Unix seconds."""
    return {
        "status": worst(findings),
        "time": int(time.time()),
        "findings": [
            {
                "status": finding.status,
                "kind": finding.kind,
                "relay": finding.relay or None,
                "host": finding.host or None,
                "text": finding.words,
                "mend": finding.mend or None,
                "ends": int(finding.ends) if finding.ends is not None else None,
            }
            for finding in findings
        ],
    }
