"""A session with one server that is ready for mail: one transaction after another, as fast as the server allows.

All that the peer or the network does comes back as answers, by recipient; nothing is raised for it. With PIPELINING the
envelope goes out in one write, and the next one rides behind the final dot: one round trip a message, and one message in
doubt at any time (RFC 2920 section 3.1).
"""

from collections import deque
from collections.abc import Callable, Iterable

from smartrelay.mail.address import domain_of
from smartrelay.smtp import content
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.dialogue import Answer, Phase, State, Trouble
from smartrelay.smtp.transaction import Flight, Transaction, prepare, unreadable, unsendable
from smartrelay.smtp.wire import Line, SessionBroken

RECIPIENTS = 100
"""Recipients in one transaction: what every server must take (RFC 5321 section 4.5.3.1.8)."""

GROUP = 4096
"""Octets of commands that are sent before their replies are read: a write that blocks while the server blocks on its
replies would be a dead-lock."""

_DATA = (Phase.DATA, b"DATA\r\n")

Pull = Callable[[], Transaction | None]
Tell = Callable[[Transaction, dict[int, Answer]], None]
Halted = Callable[[], bool]

UNTOUCHED = Answer(Phase.MAIL, trouble=Trouble.UNTOUCHED, text="the session ended before this message")


class Session:
    """One connection, open and signed in. peer: "host[address]:port" for logs and notices. window: messages that may be in
    doubt at once. completed: transactions that the server has answered for. over: nothing more can be sent."""

    def __init__(self, client: SMTPClient, peer: str, *, window: int = 1) -> None:
        self.client = client
        self.peer = peer
        self.over = False
        self.completed = 0
        self.on_close: Callable[[Session], None] = lambda session: None
        self._window = window
        self._again: deque[tuple[Transaction, list[int]]] = deque()
        self._ahead: Flight | None = None
        self._trouble_ahead: BaseException | None = None
        self._pull: Pull = lambda: None
        self._tell: Tell = lambda wanted, answers: None
        self.halted: Halted = lambda: False
        limits = client.limits
        self._most = min(RECIPIENTS, limits.get("RCPTMAX", RECIPIENTS))
        self._domains = limits.get("RCPTDOMAINMAX", RECIPIENTS)
        self._mails = limits.get("MAILMAX", 1 << 30)

    @property
    def phase(self) -> Phase:
        """What is being done right now (read by another thread that wants to end it)."""
        return self.client.wire.phase

    @property
    def at_rest(self) -> bool:
        """Whether neither side waits for the other: no answer is due, and the server was not promised a message."""
        dialogue = self.client.wire.dialogue
        return dialogue.quiet and dialogue.state is not State.TEXT

    def relay(self, pull: Pull, tell: Tell, halted: Halted = lambda: False) -> None:
        """Sends what `pull` gives until it gives None or the session ends. `tell` is called with the answers for some of a
        transaction's recipients, by index, before anything else is waited for; for each recipient exactly once. Once `halted`
        says so, no text of a message is begun, even if its envelope has gone ahead."""
        self._pull, self._tell, self.halted = pull, tell, halted
        try:
            # with LMTP a reply for each recipient follows the text, which the stream does not count
            if self._window > 1 and not self.client.lmtp and {"PIPELINING", "CHUNKING"} <= self.client.extensions.keys():
                from smartrelay.smtp.stream import Stream

                Stream(self, self._window).run()
            else:
                self._one_by_one()
            if self._trouble_ahead is not None:
                raise self._trouble_ahead
        finally:
            if self._ahead is not None:
                self.report(self._ahead, UNTOUCHED)
            while self._again:
                wanted, indices = self._again.popleft()
                tell(wanted, dict.fromkeys(indices, UNTOUCHED))

    def next_flight(self) -> Flight | None:
        """The next transaction, ready to be sent: what the last ones left over, then what is pulled."""
        if self._trouble_ahead is not None:
            raise self._trouble_ahead
        flight, self._ahead = self._ahead, None
        return flight or self._prepared()

    def _prepare_ahead(self) -> None:
        """Makes the transaction after the next one ready while the server is at work on this one."""
        if self._ahead is None and self._trouble_ahead is None:
            try:
                self._ahead = self._prepared()
            except BaseException as error:
                # not before the message that is in doubt right now has its answer
                self._trouble_ahead = error

    def _prepared(self) -> Flight | None:
        while not self.over and self._mails > 0:
            if self._again:
                wanted, indices = self._again.popleft()
            else:
                pulled = self._pull()
                if pulled is None:
                    return None
                wanted, indices = pulled, list(range(len(pulled.recipients)))
            share = self._share(wanted, indices)
            if share < len(indices):
                self._again.appendleft((wanted, indices[share:]))
                indices = indices[:share]
            try:
                flight = prepare(wanted, indices, self.client.extensions)
            except content.NotSendable as error:
                self._tell(wanted, dict.fromkeys(indices, unsendable(error)))
                continue
            except OSError as error:
                self._tell(wanted, dict.fromkeys(indices, unreadable(error)))
                continue
            if flight.answers:
                # who cannot be named here is told of at once: what is left is untouched as long as nothing is sent
                self._tell(wanted, flight.answers)
                flight.answers = {}
            if flight.recipients:
                self._mails -= 1
                return flight
        return None

    def _share(self, wanted: Transaction, indices: list[int]) -> int:
        """How many of the recipients fit into one transaction with this server."""
        if len(indices) <= self._domains:
            return min(len(indices), self._most)
        domains: set[str] = set()
        for number, index in enumerate(indices[: self._most]):
            domains.add(domain_of(wanted.recipients[index][0]))
            if len(domains) > self._domains:
                return number
        return min(len(indices), self._most)

    def report(self, flight: Flight, answer: Answer) -> None:
        """A transaction has ended with `answer` for all who were not refused before."""
        found = flight.end(answer)
        if flight.held_over:
            # another transaction of this session is for them, before any other message is begun that is not ready yet
            self._again.appendleft((flight.wanted, list(flight.held_over)))
        if answer.reply is not None and answer.reply.code == 421:
            self.over = True  # the server is about to close (RFC 5321 section 3.8)
        self._tell(flight.wanted, found)

    # one message in doubt

    def _one_by_one(self) -> None:
        flight, ahead = self.next_flight(), False
        while flight is not None:
            following = self._send(flight, ahead=ahead)
            if self.over or self.halted():
                if following is not None:
                    self.over = True  # hanging up is the only way out of a transaction that was answered with 354
                    self.report(following, UNTOUCHED)
                return
            ahead = following is not None
            flight = following or self.next_flight()

    def _send(self, flight: Flight, *, ahead: bool) -> Flight | None:
        """One transaction, whose envelope may be ahead of it. Returns the next one if its envelope rode along."""
        following: Flight | None = None
        ends: list[Answer] = []
        try:
            answer = self._envelope(flight, ahead=ahead)
            if self.client.wire.dialogue.state is State.TEXT and flight.wants_text:
                following, riders = self._rider()
                replies = len(flight.accepted) if self.client.lmtp else 1
                if self.client.wire.transcript is not None:
                    self.client.wire.transcript.text(flight.content.octets)
                try:
                    blocks = flight.content.wire()
                    self.client.send_content(blocks, riders, ends, replies=replies, meanwhile=self._prepare_ahead)
                finally:
                    self.completed += bool(ends)
                answer = ends[-1]
            else:
                answer = self._wind_up(answer)
                if flight.is_one_too_many and self.completed and not self.over:
                    self._turn_back(flight)
                    return None
                self.completed += self.client.wire.dialogue.state is not State.OVER
        except SessionBroken as broken:
            self.over = True
            self.client.close()
            answer = broken.answer
        if self.client.lmtp:
            flight.answers |= dict(zip(flight.accepted, ends, strict=False))
        self.report(flight, answer)
        return following

    def _turn_back(self, flight: Flight) -> None:
        """The server has had as many messages in this session as it takes, and had not announced how many (MAILMAX)."""
        self._mails = 0
        if self._ahead is not None:
            self.report(self._ahead, UNTOUCHED)
            self._ahead = None
        flight.refused = None
        self.report(flight, UNTOUCHED)

    def _rider(self) -> tuple[Flight | None, list[Line]]:
        """The next transaction and its envelope, where that can ride behind the final dot."""
        if "PIPELINING" not in self.client.extensions or self.client.lmtp:
            return None, []
        following = self.next_flight()
        if following is None:
            return None, []
        lines = [*following.lines(), _DATA]
        if sum([len(line) for _, line in lines]) > GROUP:
            self._put_off(following)
            return None, []
        return following, lines

    def _put_off(self, flight: Flight) -> None:
        self._mails += 1
        self._again.appendleft((flight.wanted, [index for index, _ in flight.recipients]))

    def _envelope(self, flight: Flight, *, ahead: bool) -> Answer:
        """Sends the envelope, and takes the answers to it; the one to DATA, or the last where DATA was not sent."""
        wire = self.client.wire
        if not ahead and wire.dialogue.needs_reset:
            reset = wire.command(Phase.RSET, b"RSET\r\n")
            if not reset.good:
                self.over = True
                return reset
        if ahead:
            return self._answers(flight, len(flight.recipients) + 2)
        lines = [*flight.lines(), _DATA]
        if "PIPELINING" not in self.client.extensions:
            return self._step_by_step(flight, lines)
        last = UNTOUCHED
        for batch in _batches(lines):
            wire.must_be_quiet(batch[0][0])
            wire.send(batch)
            last = self._answers(flight, len(batch))
            if wire.dialogue.state is State.OVER:
                break
        return last

    def _answers(self, flight: Flight, count: int) -> Answer:
        """The answers to that many commands of the envelope, or those up to where the session ends; the last of them."""
        wire, last = self.client.wire, UNTOUCHED
        for _ in range(count):
            last = wire.answer(self._limit(wire.dialogue.next_phase))
            if last.phase is not Phase.DATA:
                flight.take(last)
            if wire.dialogue.state is State.OVER:
                break
        return last

    def _step_by_step(self, flight: Flight, lines: list[Line]) -> Answer:
        """One command at a time, up to where the next would make no sense (RFC 5321 section 3.3)."""
        last = UNTOUCHED
        for phase, line in lines:
            if flight.refused is not None or (phase is Phase.DATA and not flight.accepted):
                break
            last = self.client.wire.command(phase, line, self._limit(phase))
            if phase is not Phase.DATA:
                flight.take(last)
            if self.client.wire.dialogue.state is State.OVER:
                break
        return last

    def _limit(self, phase: Phase | None) -> float:
        return self.client.timeouts.data if phase is Phase.DATA else self.client.timeouts.command

    def _wind_up(self, answer: Answer) -> Answer:
        """Ends a transaction that goes nowhere. A server that asked for a message for nobody gets an empty one, and what it
        says to that counts for nothing (RFC 2920 section 3.1)."""
        if self.client.wire.dialogue.state is State.TEXT:
            try:
                self.client.send_content([content.END], [], [])
            except SessionBroken:
                self.over = True
                self.client.close()
        if self.client.wire.dialogue.state is State.OVER:
            self.over = True
            if answer.phase is Phase.RSET or (answer.reply is not None and answer.reply.code == 421):
                return answer
            # 2yz where 354 was due, say: whatever the server thinks, no message was sent
            return Answer(
                answer.phase, answer.reply, Trouble.PROTOCOL, f"the server's reply makes no sense while {answer.phase}"
            )
        return answer

    def close(self) -> None:
        """Ends the session, politely where it still stands."""
        if self.over:
            self.client.close()
        else:
            self.over = True
            self.client.goodbye()
        self.on_close(self)


def _batches(lines: list[Line]) -> Iterable[list[Line]]:
    """Commands in groups that are sent at once."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line[1])
        if size >= GROUP:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
