"""A message that was just sent at the keyboard: one attempt at once, while a person looks on (sendmail's -v, -odi and -odf).

The sendmail command runs this when the message is in the queue for good. Whatever comes of it is said in a sentence, and the
exit code is 0.
"""

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from smartrelay.cli.caller import Common, say
from smartrelay.cli.ending import tried
from smartrelay.cli.options import Duration, common_options
from smartrelay.cli.passes import Passes
from smartrelay.cli.screen import Screen
from smartrelay.cli.wish import Wish
from smartrelay.cli.witness import Witness
from smartrelay.errors import EX_OK, NotTheOwner
from smartrelay.relay.manager import WIND_UP
from smartrelay.sinks import Sink, open_sink
from smartrelay.spool import names, queue_id
from smartrelay.spool.trouble import NoSuchMessage, PassInProgress

if TYPE_CHECKING:
    from smartrelay.cli.herald import Herald
    from smartrelay.relay.report import Report

_LONGEST = 30.0
"""Seconds for all of it."""


@click.command("sendmail-now", hidden=True)
@click.argument("one", metavar="ID")
@click.option("--within", type=Duration(), default=_LONGEST, metavar="DURATION", help="The time for all of it.")
@common_options
def sendmail_now(one: str, within: float, common: Common) -> NoReturn:
    """Relay a message that was just queued, and say what came of it."""
    for sentence in _Attempt(common, queue_id.parse(one), within).outcome():
        say(sentence)
    # threads that still hang in the system's resolver do not hold us up
    os._exit(EX_OK)


class _Attempt(Passes):
    """A pass over one message, ended after `seconds` as SIGTERM would end it; what it takes to wind up is counted in."""

    ENDS = (*Passes.ENDS, signal.SIGALRM)

    def __init__(self, common: Common, one: str, seconds: float) -> None:
        # quiet: the log and a progress bar would stand among the dialogue
        quiet = Common(common.config, common.spool, -1)
        super().__init__(quiet, Wish(frozenset([one])), wait=0.0, fail_if_busy=True, as_json=False)
        self._one = one
        self._seconds = seconds
        self._report: Report | None = None
        self._has_left = False
        self._listener = Screen().show if common.verbosity > 0 else None
        self._sink: Sink = open_sink("relay", quiet=True)
        self._witness = Witness(one, self._log, self._listener)

    def outcome(self) -> list[str]:
        """Makes the attempt; what came of it, in sentences."""
        sentence, _ = tried(self._attempt)
        # it has ended, so there is nothing left to interrupt
        signal.pthread_sigmask(signal.SIG_BLOCK, self.ENDS)
        why = self._why()
        if self._report is not None:
            return self._witness.sentences(why, self._report.trouble, kept=self._is_kept())
        if self._has_left:
            return [f"{self._one} has left the queue already: another pass was first"]
        return [f"queued as {self._one}; {why or sentence}"]

    def _attempt(self) -> None:
        self._take_signals()
        try:
            self.run()
        except PassInProgress as busy:
            raise PassInProgress(f"{busy}; it takes the message along, or the next one does") from busy
        except NotTheOwner:
            raise NotTheOwner("the next pass of the spool's owner sends it") from None
        except NoSuchMessage:
            self._has_left = True

    def _take_signals(self) -> None:
        """From here on a signal ends the attempt; those that have come before, at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._signal = number
            raise KeyboardInterrupt

        for number in self.ENDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)
        for number in (signal.SIGTSTP, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)  # stopped, it would hold the lock for as long as the person likes
        signal.setitimer(signal.ITIMER_REAL, max(self._seconds - WIND_UP, 0.001))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.ENDS)

    def _why(self) -> str:
        """What ended the attempt early."""
        if self._signal == signal.SIGALRM:
            return f"not sent within {self._seconds:.0f} s, so a later pass tries it"
        if self._signal:
            return "interrupted, so a later pass tries it"
        if self._report is not None and self._report.offline:
            return "this machine is offline, so a later pass tries it"
        if self._report is not None and self._report.postponed:
            return "a rate holds it back, so a later pass tries it"
        return ""

    def _is_kept(self) -> bool:
        """Whether the message is still in the queue. Looked up: of a pass that was stopped not every thread may have told."""
        try:
            names.find(self._spool, self._one)
        except NoSuchMessage:
            return False
        except OSError:
            pass  # a spool that cannot be read now has lost nothing
        return True

    def _open_log(self) -> Witness:
        self._sink = self._open_sink()
        return self._witness

    def _log(self, priority: int, *lines: str) -> None:
        self._sink(priority, *lines)

    def _tell(self, report: "Report") -> None:
        """The lock is held here, and a terminal may be stopped: it is told later."""
        self._report = report

    def _alert(self, herald: "Herald") -> None:
        """A person waits, and there are other passes."""

    def _die_by_signal(self) -> None:
        """Whatever ended it, the message is queued: that is no failure of the command that queued it."""
