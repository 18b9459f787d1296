"""Notices that a pass owes: called for in the journal, published under a derived id, then known to be published (law 3)."""

import time
from collections.abc import Callable, Sequence

from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.mail.notice import Action, Origin, Outcome, postmaster_is_told, wants
from smartrelay.mail.status import DEFERRED, EXPIRED, FAILED, Status, deferred
from smartrelay.maillog import MailLog
from smartrelay.relay.report import Report
from smartrelay.spool import queue_id
from smartrelay.spool.history import Notice, bounced
from smartrelay.spool.message import MessageInHand
from smartrelay.spool.queue import Queue

_ACTIONS = {FAILED: Action.FAILED, EXPIRED: Action.EXPIRED}
_REPORTS = {"relayed": Action.RELAYED, "delivered": Action.DELIVERED}


class Notices:
    """hostname: names us. postmaster: who is told of mail that failed and has no sender to be told, "" for nobody. warn_after:
    seconds of age at which a sender is told of a delay."""

    def __init__(
        self,
        queue: Queue,
        log: MailLog,
        report: Report,
        hostname: str,
        postmaster: str,
        warn_after: Sequence[float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._log = log
        self._report = report
        self._hostname = hostname
        self._postmaster = postmaster
        self._warn_after = sorted(warn_after)
        self._clock = clock

    def call(
        self, message: MessageInHand, statuses: dict[int, Status], now: float, left: Callable[[int], tuple[float, float]]
    ) -> Notice | None:
        """The notice that these new statuses call for, None for none. left: the age of a recipient's mail, and when it expires.

        One notice for all of whom there is something to tell.
        """
        if not self._is_late(message, now) and not any(status.final for status in statuses.values()):
            return None  # nearly always: put off, and not for hours
        lost = self._lost(message, statuses)
        number = len(message.history.notices) + 1
        if not message.envelope.reverse_path:
            return Notice(number, now, lost) if lost else None
        late = self._late(message, statuses, now, left)
        told: dict[str, list[int]] = {kind: [] for kind in _REPORTS}
        for index, status in sorted(statuses.items()):
            if status.report and self._wants(message, index, _REPORTS[status.report]):
                told[status.report].append(index)
        levels, until = [level for level, _ in late.values()], max((expires for _, expires in late.values()), default=0.0)
        notice = Notice(number, now, lost, list(late), told["relayed"], told["delivered"], levels, until)
        return notice if notice.everybody else None

    def _lost(self, message: MessageInHand, statuses: dict[int, Status]) -> list[int]:
        lost = [index for index, status in sorted(statuses.items()) if status.action in _ACTIONS]
        if not lost:
            return []
        if not message.envelope.reverse_path:
            if postmaster_is_told(message.envelope, self._postmaster):
                return lost
            self._log.dropped(message.queue_id, "it has no sender to be told (double bounce)")
            return []
        wanted = [index for index in lost if self._wants(message, index, Action.FAILED)]
        if not wanted:
            self._log.dropped(message.queue_id, "the sender asked for none (NOTIFY)")
        return wanted

    def _late(
        self, message: MessageInHand, statuses: dict[int, Status], now: float, left: Callable[[int], tuple[float, float]]
    ) -> dict[int, tuple[int, float]]:
        """Whose delay is to be told: how many entries of `warn_after` have passed for each, and when his mail expires."""
        late: dict[int, tuple[int, float]] = {}
        if not self._is_late(message, now):
            return late
        for index, status in sorted(statuses.items()):
            warned = message.history.warned[index]
            if status.action != DEFERRED or len(self._warn_after) <= warned or not self._wants(message, index, Action.DELAYED):
                continue
            age, expires = left(index)
            level = sum(age >= each for each in self._warn_after)
            if level > warned:
                late[index] = level, expires
        return late

    def _is_late(self, message: MessageInHand, now: float) -> bool:
        """Whether a sender may have to be told of a delay: what was on its way for a minute is not hours old."""
        return bool(self._warn_after) and not 0 <= now - message.envelope.arrived < self._warn_after[0]

    def may_report(self, message: MessageInHand) -> bool:
        """Whether the sender may have to be told that mail has gone well."""
        envelope, report = message.envelope, Action.RELAYED
        return bool(envelope.reverse_path) and any(wants(each.notify, report) for each in envelope.recipients)

    def _wants(self, message: MessageInHand, index: int, action: Action) -> bool:
        return wants(message.envelope.recipients[index].notify, action)

    def finish(self, message: MessageInHand) -> None:
        """Publishes what the journal calls for, then says so in it; harmless when a crash cut it short before."""
        for notice in message.history.owed:
            one = queue_id.derived(int(notice.called * 1e6), message.queue_id, notice.number)
            told = message.envelope.reverse_path or self._postmaster
            # a notice must not go while its origin could publish it once more
            with self._queue.unseen(one):
                if told and not self._queue.is_published(one):
                    self._publish(message, notice, one, told)
                message.record(bounced(self._clock(), notice.number), sync=True)
            if told:
                self._queue.add_message(one)
                self._log.notified(message.queue_id, one, self._kind(message, notice))
                self._report.add(notices=1)
            else:
                self._log.dropped(message.queue_id, "it has no sender, and no postmaster is set any more (double bounce)")

    def _kind(self, message: MessageInHand, notice: Notice) -> str:
        """What a notice is, and to whom, in the log's words."""
        if not message.envelope.reverse_path:
            return "postmaster non-delivery"
        kind = "non-delivery" if notice.recipients else "delay" if notice.delayed else "delivery status"
        return f"sender {kind}"

    def _publish(self, message: MessageInHand, notice: Notice, one: str, told: str) -> None:
        from smartrelay.mail import dsn  # few passes have anything to tell

        now = self._clock()
        origin = Origin(message.queue_id, message.envelope, message.text)
        outcomes = _outcomes(message, notice)
        envelope = Envelope(
            "",
            [Recipient(told)],
            now,
            message.envelope.uid,
            f"<{one}@{self._hostname}>",
            notice_of=(message.queue_id, notice.number),
        )
        draft = self._queue.create_new_message(envelope, one)
        try:
            if message.envelope.reverse_path:
                blocks = dsn.notice(origin, outcomes, one, self._hostname, now)
            else:
                blocks = dsn.double_bounce(origin, outcomes, one, self._hostname, told, now)
            for block in blocks:
                draft.write(block)
            draft.commit(exclusive=True)
        except BaseException:
            draft.discard()
            raise

    def settle_origin(self, envelope: Envelope) -> None:
        """Before a notice of ours is relayed, its origin must know that it was published: a crash between the two would
        otherwise publish it again once it has gone and its id is free."""
        origin, number = envelope.notice_of
        if origin and queue_id.is_valid(origin):
            self._queue.note_published(origin, bounced(self._clock(), number))


def _outcomes(message: MessageInHand, notice: Notice) -> list[Outcome]:
    """What the notice says of each recipient."""
    history = message.history
    unknown = deferred("5.0.0", "no reason is recorded")
    kinds = (
        (Action.DELAYED, notice.delayed),
        (Action.RELAYED, notice.relayed),
        (Action.DELIVERED, notice.delivered),
    )
    outcomes = []
    for index in notice.recipients:
        status = history.last[index] or unknown
        outcomes.append(Outcome(index, _ACTIONS.get(status.action, Action.FAILED), status, notice.called))
    for action, indices in kinds:
        for index in indices:
            until = notice.until if action is Action.DELAYED else 0.0
            # of a delay that this very notice tells nobody was warned before
            warned = history.warned[index] > 0 and action is not Action.DELAYED
            outcomes.append(Outcome(index, action, history.last[index] or unknown, notice.called, until, warned))
    return outcomes
