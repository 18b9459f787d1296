"""Taking the messages of one next hop in hand, in their turn: from the backlog to a consignment, and back."""

import threading
from collections.abc import Callable

from smartrelay.mail.status import FAILED, Status
from smartrelay.mail.trace import received
from smartrelay.relay.alarm import Alarm
from smartrelay.relay.backlog import Backlog, Item
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.turns import Turns
from smartrelay.relay.verdicts import Verdicts
from smartrelay.smtp.session import RECIPIENTS
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage


class Taking:
    """hop: the relay's name. turns: by the rates, None where no rate is set. max_received: so many Received fields are a loop.
    stopping: set when the pass is to end. Safe in threads."""

    def __init__(
        self,
        hop: str,
        backlog: Backlog,
        ledger: Ledger,
        verdicts: Verdicts,
        alarm: Alarm,
        turns: Turns | None,
        max_received: int,
        stopping: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self._hop = hop
        self._backlog = backlog
        self._ledger = ledger
        self._verdicts = verdicts
        self._alarm = alarm
        self._turns = turns
        self._max_received = max_received
        self._stopping = stopping
        self._clock = clock

    def take(self, stop: int, *, waits: bool = True) -> Consignment | None:
        """The next consignment for the host at this stop, in hand; None when there is none or the pass is to stop. waits:
        whether the turn of one may be waited for; else None where it must be."""
        if self._turns is None:
            return self._take(stop, waits=waits)
        if not self._turns.line_up(waits=waits):
            return None
        try:
            return self._take(stop, waits=waits)
        finally:
            self._turns.leave_line()

    def _take(self, stop: int, *, waits: bool) -> Consignment | None:
        while not self._stopping.is_set():
            item = self._backlog.take(stop)
            if item is None:
                return None
            consignment = self.consign(item)
            if consignment is None:
                continue
            try:
                if not self._is_fit(consignment):
                    continue
                # what is on a detour has had its turn, and would lose its way if it waited for another
                turn = 0.0 if item.stop else self._turn(consignment, waits=waits)
            except Exception as error:
                self._verdicts.defer_unknown(consignment, error)
                raise
            if not turn:
                consignment.stop = stop
                return consignment
            if self._turns is not None and self._turns.is_soon(turn):
                self._ledger.give_back(item.queue_id, finished=False)
                self._backlog.put_back(Item(item.queue_id, tuple(consignment.recipients), item.retried))
                return None
            self._postpone(consignment, turn)
        return None

    def consign(self, item: Item) -> Consignment | None:
        """A planned message in hand, for as many of its recipients as fit a transaction; None where it is not to be had."""
        try:
            message = self._ledger.take(item.queue_id)
        except (NoSuchMessage, MessageBusy, CorruptMessage):
            return None  # an operator has it, or it was set aside with a word of its own
        except OSError as error:
            self._alarm.spool_failed(item.queue_id, error)
            return None
        wanted = message.history.waiting
        if item.recipients is not None:
            still = set(wanted)
            wanted = [index for index in item.recipients if index in still]
        consignment = Consignment(message, self._hop, wanted[:RECIPIENTS], self._clock(), retried=item.retried)
        if not wanted:
            self._verdicts.let_go(consignment)
            return None
        if len(wanted) > RECIPIENTS:
            self._ledger.add_share(item.queue_id)
            self._backlog.put_back(Item(item.queue_id, tuple(wanted[RECIPIENTS:]), stop=item.stop))
        return consignment

    def _is_fit(self, consignment: Consignment) -> bool:
        """Whether the message may be sent; where not, it has been dealt with."""
        try:
            if received(consignment.message.text()) >= self._max_received:
                text = f"the message has {self._max_received} Received fields or more: it goes round in a loop"
                self._verdicts.note(consignment, dict.fromkeys(consignment.recipients, Status(FAILED, "5.4.6", text)))
                self._verdicts.told(consignment)
                return False
            self._ledger.prepare(consignment)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error)
            self._verdicts.let_go(consignment)
            return False
        return True

    def _turn(self, consignment: Consignment, *, waits: bool) -> float:
        """0.0 where the message may be sent by the rates, else when it may (Unix seconds)."""
        return self._turns.take(consignment.message.envelope.arrived, waits=waits) if self._turns is not None else 0.0

    def _postpone(self, consignment: Consignment, turn: float) -> None:
        """The message waits in the queue for its turn."""
        try:
            self._ledger.postpone(consignment, turn)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error)
        self._verdicts.let_go(consignment)

    def put_back(self, consignment: Consignment, *, retried: bool) -> None:
        """A session died before it took this message: it goes over the next one, and no attempt is counted. retried: such a
        second chance was its last."""
        self._verdicts.write_all(consignment)
        left = tuple(index for index in consignment.recipients if index not in consignment.known)
        stop = consignment.stop if consignment.stop > self._backlog.main else 0
        if self._turns is not None and not stop:
            self._turns.give_back(consignment.taken)
        self._ledger.give_back(consignment.queue_id, finished=False)
        self._backlog.put_back(Item(consignment.queue_id, left, retried, stop))
