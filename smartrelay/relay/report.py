"""What a pass did, in numbers."""

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Counts of one pass. sent, deferred, bounced: recipients. messages: that left the queue. waiting: messages still in
    it. postponed: messages that a rate budget holds back. doubtful: recipients that may get their mail twice. notices: bounces
    written. offline: this machine had no way to some host. trouble: sentences for the operator, once each. misconfigured: a
    file that the configuration names cannot be used (exit code 78). failed: the spool could not be written as it had to
    (exit code 74)."""

    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    doubtful: int = 0
    messages: int = 0
    notices: int = 0
    postponed: int = 0
    connections: int = 0
    waiting: int = 0
    stopped: bool = False
    offline: bool = False
    misconfigured: bool = False
    failed: bool = False
    trouble: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        """Adds to counts; safe in threads."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def complain(self, sentence: str) -> bool:
        """Notes a trouble; False when it was known already, so that a storm of the same is one line."""
        with self._lock:
            if sentence in self.trouble:
                return False
            self.trouble.append(sentence)
            return True

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "_lock"}

    def sentence(self) -> str:
        """For people."""
        parts = [f"{self.sent} sent", f"{self.deferred} deferred", f"{self.bounced} bounced"]
        if self.postponed:
            parts.append(f"{self.postponed} held back by a rate")
        text = ", ".join(parts)
        if self.doubtful:
            text += f" ({self.doubtful} of the deferred may have arrived)"
        if self.offline:
            text = f"offline, no attempt is counted: {text}"
        return f"{text}; {self.waiting} message{'' if self.waiting == 1 else 's'} waiting"
