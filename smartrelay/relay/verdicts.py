"""What came of consignments, gathered until it can be written down; and what is done when the spool will not have it."""

from smartrelay.mail.status import DELIVERED, Status, deferred
from smartrelay.relay.alarm import Alarm
from smartrelay.relay.ledger import Consignment, Ledger


class Verdicts:
    """For one next hop. The ledger writes them in the lawful order; `alarm` is told of a spool that cannot be written."""

    def __init__(self, ledger: Ledger, alarm: Alarm) -> None:
        self._ledger = ledger
        self._alarm = alarm

    def note(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """What came of these recipients; `told` follows."""
        consignment.fresh.update(statuses)

    def told(self, consignment: Consignment) -> None:
        """That was all for now: what is known is written down, and a message of which all is known is let go.

        Who has his mail is written down at once, the others when all are known: there is one notice of them, not one for each
        time that the session tells of some.
        """
        if consignment.complete:
            self._write(consignment, consignment.fresh)
            self.let_go(consignment, verdict=True)
        else:
            self._write(consignment, {i: status for i, status in consignment.fresh.items() if status.action == DELIVERED})

    def write_all(self, consignment: Consignment) -> None:
        """All that is known so far is written down: the session will tell no more of this consignment."""
        self._write(consignment, consignment.fresh)

    def _write(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        if statuses:
            try:
                self._ledger.write(consignment, statuses)
            except OSError as error:
                self._alarm.spool_failed(consignment.queue_id, error, verdict=True)
                consignment.settle(statuses)

    def let_go(self, consignment: Consignment, *, verdict: bool = False) -> None:
        """This next hop has finished with the message. verdict: of mail that may have been sent."""
        try:
            self._ledger.give_back(consignment.queue_id, finished=True)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error, verdict=verdict)

    def defer_unknown(self, consignment: Consignment, error: BaseException) -> None:
        """A bug of ours must not bounce or lose mail: whatever has no status yet waits (law 2)."""
        missing = [index for index in consignment.recipients if index not in consignment.known]
        reason = deferred("4.3.0", f"internal error of smartrelay: {type(error).__name__}")
        self.note(consignment, dict.fromkeys(missing, reason))
        self.told(consignment)
