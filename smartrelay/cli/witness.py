"""What became of one message in one pass, in sentences for the person who waits for it."""

from smartrelay.mail.status import DEFERRED, DELIVERED, Status
from smartrelay.maillog import MailLog
from smartrelay.sinks import Sink
from smartrelay.smtp.transcript import Listener

_NAMED = 5
"""Recipients with the same result that are named; the others are counted."""


class Witness(MailLog):
    """A mail log that remembers what it was told of a message. listener: told what is said of hosts, None for nobody."""

    def __init__(self, queue_id: str, sink: Sink, listener: Listener | None) -> None:
        super().__init__(sink)
        self._queue_id = queue_id
        self._listener = listener
        self._found: dict[str, Status] = {}
        self._noticed = False

    def attempted(self, queue_id: str, recipient: str, status: Status, delay: float, delays: tuple[float, ...]) -> None:
        """What came of one recipient."""
        super().attempted(queue_id, recipient, status, delay, delays)
        self._found[recipient] = status

    def notified(self, queue_id: str, notice: str, kind: str) -> None:
        """Somebody was sent a notice."""
        super().notified(queue_id, notice, kind)
        self._noticed = True

    def warning(self, text: str) -> None:
        """A host was left for the next one, say."""
        super().warning(text)
        if self._listener is not None:
            self._listener("", text)

    def sentences(self, why: str, trouble: list[str], *, kept: bool) -> list[str]:
        """What became of the message, final things first. why: what ended the attempt early, "" for nothing; trouble: what to
        say of a message that waits without a result; kept: whether it is still in the queue."""
        found: list[str] = []
        waiting = [why] if why else []
        for (action, words), recipients in self._by_result().items():
            names = _names(recipients)
            if action == DELIVERED:
                found.append(f"delivered to {names}")
            elif action == DEFERRED:
                waiting.append(f"deferred for {names}: {words}")
            else:
                notice = "; a notice goes to the sender" if self._noticed else ""
                found.append(f"given up for {names}: {words}{notice}")
        if kept:
            found.append(f"queued as {self._queue_id}; {'; '.join(waiting or trouble or ['not tried now'])}")
        return found

    def _by_result(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for recipient, status in self._found.items():
            words = f"{status.host} says {status.text}" if status.code else status.text
            found.setdefault((status.action, "" if status.action == DELIVERED else words), []).append(recipient)
        return found


def _names(recipients: list[str]) -> str:
    more = len(recipients) - _NAMED
    return ", ".join(recipients[:_NAMED]) + (f" and {more} more" if more > 0 else "")
