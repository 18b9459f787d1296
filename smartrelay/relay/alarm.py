"""What an operator must put right, shouted once in a pass: a relay that does not let us in, a spool that cannot be written."""

import errno
import threading

from smartrelay.mail.status import Status
from smartrelay.maillog import MailLog
from smartrelay.relay.report import Report
from smartrelay.routing.relays import NextHop
from smartrelay.spool.incidents import ACCOUNT, Incidents

UNAUTHENTICATED = 530

_UNWRITTEN = 3
"""Verdicts that could not be written, after which the pass ends: it is the disk, not one file."""


class Alarm:
    """For one next hop. stopping: set when the pass is to end."""

    def __init__(self, hop: NextHop, log: MailLog, report: Report, incidents: Incidents, stopping: threading.Event) -> None:
        self._hop = hop
        self._log = log
        self._report = report
        self._incidents = incidents
        self._stopping = stopping
        self._unwritten = 0

    def locked_out(self, status: Status) -> None:
        """The relay does not let us in; its mail waits."""
        why = status.text
        if status.code == UNAUTHENTICATED and self._hop.auth is None:
            why += " (there is no auth in its [[relay]])"
        sentence = f"relay {self._hop.name} cannot be used: {why}; its mail waits until this is put right"
        self._incidents.note(ACCOUNT, self._hop.name, sentence)
        if self._report.complain(sentence):
            self._log.error(sentence)

    def let_in(self) -> None:
        """The relay has taken a message. That a session stands says less: some servers let all in, and say 530 to MAIL."""
        self._incidents.end(ACCOUNT, self._hop.name)

    def spool_failed(self, queue_id: str, error: OSError, *, verdict: bool = False) -> None:
        """The spool failed. Where verdicts of mail that was sent cannot be written, each message would be sent again by every
        pass: this one ends. A full disk is no such case: room was reserved, and an unlink needs none."""
        if verdict and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            self._unwritten += 1
            if self._unwritten >= _UNWRITTEN or error.errno == errno.EROFS:
                self._stopping.set()
        spool_failed(self._report, self._log, queue_id, error)


def spool_failed(report: Report, log: MailLog, queue_id: str, error: OSError) -> None:
    """The spool failed under one message, which waits on; the others are gone on with."""
    report.failed = True
    sentence = f"the spool cannot be written as it must be: {error.strerror or error}"
    if report.complain(sentence):
        log.error(f"{queue_id}: {sentence}")
