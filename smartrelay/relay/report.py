"""What a pass did, in numbers."""

import threading


class Report:
    """Counts of one pass. sent, deferred, bounced: recipients. expired: those of the bounced whose mail was too old. messages:
    that left the queue. waiting: messages still in it. postponed: messages that a rate budget holds back. doubtful: recipients
    that may get their mail twice. notices: bounces written. offline: this machine had no way to some host. trouble: sentences
    for the operator, once each. misconfigured: a file that the configuration names cannot be used (exit code 78). failed: the
    spool could not be written as it had to (exit code 74)."""

    def __init__(self, waiting: int = 0) -> None:
        self.sent = self.deferred = self.bounced = self.expired = self.doubtful = 0
        self.messages = self.notices = self.postponed = self.connections = 0
        self.waiting = waiting
        self.stopped = self.offline = self.misconfigured = self.failed = False
        self.trouble: list[str] = []
        self._lock = threading.Lock()

    def add(self, **counts: int) -> None:
        """Adds to counts; safe in threads."""
        with self._lock:
            for name, count in counts.items():
                if count:
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
        return {name: value for name, value in vars(self).items() if name != "_lock"}

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
