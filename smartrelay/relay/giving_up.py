"""Giving messages up on an operator's word: a verdict for all who wait, a notice to the sender, and the message goes.

The order is that of law 3, by what a pass does it with: verdicts and the call for a notice are one durable line of the journal,
and from there on any pass can finish what is cut short.
"""

import time
from collections.abc import Callable

from smartrelay.config import Config
from smartrelay.mail.status import EXPIRED, EXPIRY, FAILED, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.notices import Notices
from smartrelay.relay.report import Report
from smartrelay.spool.history import attempt
from smartrelay.spool.message import MessageInHand
from smartrelay.spool.operator_queue import OperatorQueue

Verdict = Callable[[Status | None], Status]
"""What becomes of a recipient whose latest status this is, None for one that was never tried."""

OPERATOR = "operator"
"""Stands in the journal where an attempt has its relay."""


def expired(last: Status | None) -> Status:
    """Its time is over, whatever its age (RFC 3463 section 3.5, X.4.7); why it waited stays the reason."""
    if last is None:
        return Status(EXPIRED, EXPIRY, "it was given up by the operator of the mail system before it was tried")
    return last._replace(action=EXPIRED, doubt=False)


def removed(last: Status | None) -> Status:
    """It was taken out of the queue."""
    return Status(FAILED, "5.0.0", "the message was removed from the queue by the operator of the mail system")


class GivingUp:
    """Gives messages up, each with this verdict. queue: takes them in hand, beside any pass."""

    def __init__(
        self, queue: OperatorQueue, config: Config, log: MailLog, verdict: Verdict, clock: Callable[[], float] = time.time
    ) -> None:
        self._queue = queue
        self._log = log
        self._verdict = verdict
        self._clock = clock
        self._notices = Notices(queue, log, Report(), config.hostname, config.postmaster, config.warn_after, clock)

    def give_up(self, one: str) -> str:
        """Ends a message in whatever state; why nobody is told of it, "" where somebody is.

        Raises MessageBusy, NoSuchMessage, CorruptMessage, and OSError: it is then in the queue as before, or, once its verdict
        is durable, a pass or this again finishes it.
        """
        message = self._queue.set_relaying(one)
        try:
            self._notices.settle_origin(message.envelope)
            self._notices.finish(message)
            untold = self._judge(message)
        except BaseException:
            self._queue.put_back(one)
            raise
        self._log.removed(self._queue.done(one))
        return untold

    def _judge(self, message: MessageInHand) -> str:
        history = message.history
        statuses = {index: self._verdict(history.last[index]) for index in history.waiting}
        if not statuses:
            return ""  # it had all its verdicts, and a crash kept it from leaving
        self._log.taken(message.queue_id, message.envelope, first=not message.journal.exists)
        now = self._clock()
        notice = self._notices.call(message, statuses, now, lambda index: (0.0, 0.0))
        message.record(attempt(now, OPERATOR, statuses, notice), sync=True)
        self._queue.hand_over(message.queue_id)
        self._notices.finish(message)
        delay = now - message.envelope.arrived
        for index, status in statuses.items():
            address = message.envelope.recipients[index].address
            self._log.attempted(message.queue_id, address, status, delay, (delay, 0.0, 0.0, 0.0))
        if any(status.action == EXPIRED for status in statuses.values()):
            self._log.expired(message.queue_id, message.envelope)
        if notice is not None:
            return ""
        if message.envelope.reverse_path:
            return "its sender asked for no notice"
        return "it has no sender who could be told, and there is no postmaster to be told instead"
