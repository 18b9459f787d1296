"""What passes over a spool tell everyone, in the status file, and note for themselves in `var/totals`."""

import os
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from smartrelay import __version__
from smartrelay.spool import census, names, status_file, totals
from smartrelay.spool.status_file import NAMED, Noted, Status
from smartrelay.spool.totals import DONE, FAILED, IDLE, MISCONFIGURED, OFFLINE, RUNNING, STOPPED, Totals, Work

if TYPE_CHECKING:
    from smartrelay.relay.report import Report
    from smartrelay.spool.incidents import Incident

_DISTANCE = 10.0
"""Seconds between two bulletins of a pass that goes on."""


class Bulletin:
    """That of one pass, which begins now. path: of the status file, "" for none: then nothing is told or noted.

    needed: free octets below which no mail is accepted. relays: names of those that are configured, None where that is not
    known. clock: Unix seconds. warn: told in a sentence why the file cannot be written; that is no reason to stop the mail, and
    no word is lost on a directory that is not there.
    """

    def __init__(
        self,
        path: str,
        spool: str,
        *,
        needed: int,
        relays: Collection[str] | None,
        horizon: float,
        clock: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._spool = spool
        self._needed = needed
        self._relays = relays
        self._horizon = horizon
        self._clock = clock
        self._warn = warn
        self._start = self._told = clock()
        self._before: Totals | None = None

    def idle(self, scan: names.Scan) -> None:
        """There was nothing to do, as this look at the names found."""
        if self._path:
            self._replace(IDLE, None, scan, offline=False)

    def go_on(self, report: "Report") -> None:
        """The pass goes on: told now and then, for it may do so for hours. Only while it has the spool's lock."""
        now = self._clock()
        if self._path and not 0 <= now - self._told < _DISTANCE:
            self._told = now
            self._tell(RUNNING, report, None)

    def end(self, report: "Report", bad_until: Iterable[float]) -> None:
        """The pass has ended with this report. bad_until: when each of the bad hosts ceases to be one. Only while it has the
        spool's lock."""
        if self._path:
            self._tell(_result(report), report, list(bad_until))

    def end_without_work(self, result: str) -> None:
        """The pass could not begin with its work: the configuration, or the spool, could not be used."""
        if self._path:
            self._replace(result, None, None, offline=False)

    def _tell(self, result: str, report: "Report", bad_until: list[float] | None) -> None:
        if self._before is None:
            self._before = totals.load(self._spool)
        total = self._before.plus(_work(self._start, self._clock(), result, report))
        if bad_until is not None:
            total = total._replace(bad_hosts=len(bad_until), bad_until=max(bad_until, default=0.0))
        try:
            totals.save(self._spool, total)
        except OSError as error:
            self._warn(f"cannot write {totals.path(self._spool)}: {error.strerror}; what this pass did is not counted")
        self._replace(result, total, None, offline=report.offline)

    def _replace(self, result: str, total: Totals | None, scan: names.Scan | None, *, offline: bool) -> None:
        def content() -> bytes:
            return status_file.text(self._status(result, total or totals.load(self._spool), scan, offline=offline))

        try:
            status_file.replace(self._path, content)
        except OSError as error:
            if os.path.isdir(os.path.dirname(self._path)):
                self._warn(f"cannot write the status file {self._path}: {error.strerror}")

    def _status(self, result: str, total: Totals, scan: names.Scan | None, *, offline: bool) -> Status:
        now = self._clock()
        if total.bad_until <= now:
            total = total._replace(bad_hosts=0, bad_until=0.0)
        return Status(
            version=__version__,
            time=now,
            start=self._start,
            result=result,
            totals=total,
            messages=census.take(self._spool, now, self._horizon, scan),
            incidents=_by_kind(incidents(self._spool, self._relays, self._clock)),
            relays=None if self._relays is None else len(self._relays),
            offline=offline,
            free=_free(self._spool),
            needed=self._needed,
        )


def incidents(spool: str, relays: Collection[str] | None, clock: Callable[[], float]) -> "list[Incident]":
    """Those that stand, as far as can be told without changing anything; where there are none that costs nothing."""
    try:
        os.stat(f"{spool}/var/incidents.json")
    except OSError:
        return []
    from smartrelay.spool.incidents import Incidents

    # a pass with work says what is wrong with that file
    return Incidents(spool, relays=relays, clock=clock, warn=lambda sentence: None).entries()


def _by_kind(found: "list[Incident]") -> status_file.Incidents:
    if not found:
        return status_file.Incidents()
    from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT

    return status_file.Incidents(*[_noted(found, kind, named=kind == ACCOUNT) for kind in (ACCOUNT, CONFIGURATION, DOUBT)])


def _noted(found: "list[Incident]", kind: str, *, named: bool) -> Noted:
    these = [incident for incident in found if incident.kind == kind]
    relays = tuple(incident.name for incident in these[:NAMED]) if named else ()
    return Noted(len(these), min((incident.since for incident in these), default=None), relays)


def _work(start: float, now: float, result: str, report: "Report") -> Work:
    return Work(
        start,
        max(start, now),
        result,
        delivered=report.sent,
        deferred=report.deferred,
        bounced=report.bounced - report.expired,
        expired=report.expired,
        doubtful=report.doubtful,
        messages=report.messages,
        notices=report.notices,
        postponed=report.postponed,
        connections=report.connections,
    )


def _result(report: "Report") -> str:
    """The worst that can be said of a pass."""
    if report.failed:
        return FAILED
    if report.misconfigured:
        return MISCONFIGURED
    if report.stopped:
        return STOPPED
    return OFFLINE if report.offline else DONE


def _free(spool: str) -> int | None:
    try:
        found = os.statvfs(spool)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
