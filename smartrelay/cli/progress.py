"""The progress bar of a pass on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smartrelay.relay.report import Report


@contextmanager
def progress_bar() -> Iterator[Callable[[Report, int], None]]:
    """Gives a function that shows how far the pass is; the bar goes away with the pass."""
    columns = (
        TextColumn("relaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(report: Report, backlog: int) -> None:
            done = report.sent + report.deferred + report.bounced
            bar.update(task, completed=done, total=done + backlog, description=f"{report.deferred} deferred")

        yield update
