"""Relayers: one session, many messages."""

import threading
from typing import TYPE_CHECKING, cast

from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status
from smartrelay.relay.blame import Judgement, Scope, judge
from smartrelay.relay.course import Stop
from smartrelay.relay.ledger import Consignment
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction

if TYPE_CHECKING:
    from smartrelay.relay.attempt import _AttemptManager

_EARLY = (Phase.RSET, Phase.MAIL)


class ManagedRelayerMixin:
    """Tells the attempt manager of each message sent, failed or deferred."""

    manager: "_AttemptManager"

    def sent_mail(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """What came of some of the consignment's recipients, by index in the envelope."""
        found: dict[str, dict[int, Status]] = {}
        for index, status in statuses.items():
            found.setdefault(status.action, {})[index] = status
        if DEFERRED in found:
            self.manager.notify_deferred(consignment, found[DEFERRED])
        if FAILED in found:
            self.manager.notify_failure(consignment, found[FAILED])
        if DELIVERED in found:
            self.manager.notify_success(consignment, found[DELIVERED])
        self.manager.notify_told(consignment)


class SMTPManagedRelayer(ManagedRelayerMixin):
    """One session of plain SMTP: HELO, no extension, one message after the other (RFC 5321 section 4.1.4).

    most: messages in one session. completed: how many went through. last_trouble: what ended it, if anything did. retired:
    whether it ended because there were too many.
    """

    extended = False

    def __init__(
        self,
        session: Session,
        manager: "_AttemptManager",
        stop: Stop,
        most: int,
        stopping: threading.Event,
    ) -> None:
        self.manager = manager
        self.session = session
        self._stop, self._candidate = stop
        self.last_trouble: Judgement | None = None
        self.retired = False
        self._left = most
        self._stopping = stopping
        self._in_hand: list[Consignment] = []

    @property
    def completed(self) -> int:
        """Transactions that the server has answered for."""
        return self.session.completed

    def run(self) -> None:
        """Relays until there is no more to send, the session has had its share, or it ends."""
        try:
            self.session.relay(self._pull, self._tell, self._stopping.is_set)
        except BaseException as error:
            self.session.over = True
            for consignment in list(self._in_hand):
                self.manager.defer_unknown(consignment, error)
            raise
        finally:
            self.session.close()

    def _pull(self) -> Transaction | None:
        """The next message for the session."""
        self.retired = self.retired or self.manager.connections.is_surplus()
        if self._left <= 0 or self.retired:
            return None
        # a turn is waited for between transactions only: not with a verdict unread, nor while the server awaits a text
        consignment = self.manager.take(self._stop, waits=self.session.at_rest)
        if consignment is None:
            return None
        self._left -= 1
        self._in_hand.append(consignment)
        consignment.started = self.manager.clock()
        envelope = consignment.message.envelope
        recipients = [envelope.recipients[index] for index in consignment.recipients]
        return Transaction(
            envelope.reverse_path,
            [(recipient.address, recipient.notify, recipient.orcpt) for recipient in recipients],
            consignment.message.text,
            envelope.facts,
            envelope.ret,
            envelope.envid,
            consignment,
        )

    def _tell(self, wanted: Transaction, answers: dict[int, Answer]) -> None:
        """What the session says of some of a message's recipients, by their place in the transaction."""
        consignment = cast(Consignment, wanted.cargo)
        if consignment not in self._in_hand:
            return  # it was in several transactions, and went back whole when the first of them was not begun
        answered = {consignment.recipients[place]: answer for place, answer in answers.items()}
        untouched = {answer.trouble for answer in answers.values()} == {Trouble.UNTOUCHED}
        if untouched or self._was_not_tried(consignment, answered):
            self.manager.put_back(consignment, retried=consignment.retried or not untouched)
            self._in_hand.remove(consignment)
            return
        peer, exchanger = self.session.peer, self._candidate.exchanger
        judgements = {index: judge(self._known(answer), peer, exchanger=exchanger) for index, answer in answered.items()}
        account = next((each for each in judgements.values() if each.scope is Scope.ACCOUNT), None)
        if account is not None:
            # what is wrong with our account is so for all mail: no more of it is offered here
            self.last_trouble, self._left = account, 0
        elif self.session.over and judgements and self.last_trouble is None:
            self.last_trouble = list(judgements.values())[-1]
        self.sent_mail(consignment, {index: self._reported(judgement.status) for index, judgement in judgements.items()})
        if consignment.complete:
            self._in_hand.remove(consignment)

    def _reported(self, status: Status) -> Status:
        """What a sender who asked to hear of success must hear from us, because this server will not tell (RFC 3461 section
        5.2.2)."""
        if status.action != DELIVERED or "DSN" in self.session.client.extensions:
            return status
        return status._replace(report="delivered" if self.session.client.lmtp else "relayed")

    def _was_not_tried(self, consignment: Consignment, answers: dict[int, Answer]) -> bool:
        """Whether the server had hung up on a session that was in use before this message began: no attempt was made."""
        if consignment.known or consignment.retried:
            return False
        if not self.session.over or not self.session.completed or self._stopping.is_set():
            return False
        return all(answer.phase in _EARLY and _hung_up(answer) for answer in answers.values())

    def _known(self, answer: Answer) -> Answer:
        """A connection that we ended ourselves was not lost by the server."""
        if self._stopping.is_set() and answer.trouble is Trouble.LOST:
            return Answer(answer.phase, None, Trouble.STOPPED, f"the pass was stopped while {answer.phase}")
        return answer


def _hung_up(answer: Answer) -> bool:
    refused_reset = answer.phase is Phase.RSET and answer.reply is not None
    return answer.trouble is Trouble.LOST or refused_reset or (answer.reply is not None and answer.reply.code == 421)


class ESMTPManagedRelayer(SMTPManagedRelayer):
    """One session with EHLO and every extension that the server offers; falls back to plain SMTP where EHLO is refused."""

    extended = True
