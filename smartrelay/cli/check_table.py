"""What `smartrelay check` has found, for people."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.mail.status import visible

_WHAT = 44
"""Columns for what was tried: a rule's name and a host mostly fit."""

_COLOURS = {OK: "green", WARN: "yellow", FAIL: "bold red"}


def patience() -> AbstractContextManager[object]:
    """Something that moves while hosts are waited for."""
    return Console(stderr=True).status("trying the configuration")


def write_table(findings: Sequence[Finding]) -> None:
    """A line each, as wide as the terminal, what to do on one of its own below; then how many there are of each."""
    console = Console(highlight=False)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=min(_WHAT, console.width // 3))
    table.add_column(overflow="fold", ratio=1)
    for finding in findings:
        words = Text(visible(finding.words))
        if finding.mend:
            words.append(f"\n{visible(finding.mend)}", style="cyan")
        what = f"[{'bold' if finding.status != OK else 'none'}]{escape(visible(finding.what))}[/]"
        table.add_row(f"[{_COLOURS[finding.status]}]{finding.status}[/]", what, words)
    console.print(table)
    console.print(_summary(findings))


def _summary(findings: Sequence[Finding]) -> str:
    counts = {status: sum(finding.status == status for finding in findings) for status in (FAIL, WARN, OK)}
    if not counts[FAIL] and not counts[WARN]:
        return f"[{_COLOURS[OK]}]All is good[/]: {counts[OK]} things were tried."
    said = []
    for status, noun in ((FAIL, "error"), (WARN, "warning")):
        if counts[status]:
            said.append(f"[{_COLOURS[status]}]{counts[status]} {noun}{'' if counts[status] == 1 else 's'}[/]")
    return f"{', '.join(said)}; {counts[OK]} of {len(findings)} are good."
