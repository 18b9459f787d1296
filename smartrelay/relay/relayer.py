"""Relayers: one session, many messages."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status
from smartrelay.relay.blame import Judgement, judge
from smartrelay.relay.ledger import Consignment
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import Session, Transaction

if TYPE_CHECKING:
    from smartrelay.relay.attempt import _AttemptManager


class ManagedRelayerMixin:
    """Tells the attempt manager of each message sent, failed or deferred."""

    manager: "_AttemptManager"

    def sent_mail(self, consignment: Consignment, judgements: list[Judgement]) -> None:
        """One judgement for each of the consignment's recipients, in order; missing ones are deferrals by law 2."""
        found: dict[str, dict[int, Status]] = {DELIVERED: {}, FAILED: {}, DEFERRED: {}}
        for index, judgement in zip(consignment.recipients, judgements, strict=True):
            found[judgement.status.action][index] = judgement.status
        # the verdict is written when the last of these three has made the consignment complete
        self.manager.notify_deferred(consignment, found[DEFERRED])
        self.manager.notify_failure(consignment, found[FAILED])
        self.manager.notify_success(consignment, found[DELIVERED])


class SMTPManagedRelayer(ManagedRelayerMixin):
    """One session of plain SMTP: HELO, no extension, one message after the other (RFC 5321 section 4.1.4).

    most: messages in one session. completed: how many went through. last_trouble: what ended it, if anything did.
    """

    extended = False

    def __init__(
        self,
        session: Session,
        manager: "_AttemptManager",
        most: int,
        stopping: threading.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.manager = manager
        self.session = session
        self.last_trouble: Judgement | None = None
        self._most = most
        self._stopping = stopping
        self._clock = clock

    @property
    def completed(self) -> int:
        """Messages that the server has answered for."""
        return self.session.completed

    def run(self) -> None:
        """Relays until there is no more to send, the session has had its share, or it ends."""
        relayed = 0
        try:
            while relayed < self._most and not self.session.over:
                consignment = self.manager.take()
                if consignment is None:
                    break
                try:
                    self._relay(consignment)
                except BaseException as error:
                    self.session.over = True
                    self.manager.defer_unknown(consignment, error)
                    raise
                relayed += 1
        finally:
            self.session.close()

    def _relay(self, consignment: Consignment) -> None:
        consignment.started = self._clock()
        envelope = consignment.message.envelope
        recipients = [envelope.recipients[index] for index in consignment.recipients]
        answers = self.session.transact(
            Transaction(
                envelope.reverse_path,
                [(recipient.address, recipient.notify, recipient.orcpt) for recipient in recipients],
                consignment.message.text,
                envelope.facts,
                envelope.ret,
                envelope.envid,
            )
        )
        if self._was_too_late(consignment, answers):
            self.manager.put_back(consignment)
            return
        judgements = [judge(self._known(answer), self.session.peer) for answer in answers]
        if self.session.over:
            self.last_trouble = judgements[-1]
        self.sent_mail(consignment, judgements)

    def _was_too_late(self, consignment: Consignment, answers: list[Answer]) -> bool:
        """Whether the server had ended a session that was in use before this message began: then it was not tried."""
        if consignment.retried or not self.session.over or not self.session.completed or self._stopping.is_set():
            return False
        early = (Phase.RSET, Phase.MAIL)
        return all(
            answer.phase in early
            and (answer.trouble is Trouble.LOST or (answer.reply is not None and answer.reply.code == 421))
            for answer in answers
        )

    def _known(self, answer: Answer) -> Answer:
        """A connection that we ended ourselves was not lost by the server."""
        if self._stopping.is_set() and answer.trouble is Trouble.LOST:
            return Answer(answer.phase, None, Trouble.STOPPED, f"the pass was stopped while {answer.phase}")
        return answer


class ESMTPManagedRelayer(SMTPManagedRelayer):
    """One session with EHLO and every extension that the server offers; falls back to plain SMTP where EHLO is refused."""

    extended = True
