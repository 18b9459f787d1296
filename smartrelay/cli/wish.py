"""What a pass is told to do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from smartrelay.mail.envelope import Envelope


class Wish(NamedTuple):
    """What a pass is told to do. ids: only these; everything: whatever is not held. like: only those that have `like[1:]` in
    the queue id, a recipient or the sender, as `like[0]` says: I, R or S."""

    ids: frozenset[str] = frozenset()
    domain: str = ""
    sender: str = ""
    everything: bool = False
    like: str = ""

    @property
    def told(self) -> bool:
        """Whether this is more than a plain pass: then a busy lock is an error."""
        return bool(self.ids or self.domain or self.sender or self.everything or self.like)

    @property
    def chosen(self) -> "Callable[[Envelope, str], bool] | None":
        """Which messages, None for all."""
        if not (self.ids or self.domain or self.sender or self.like):
            return None
        from smartrelay.mail.address import domain_of

        def wanted(envelope: "Envelope", one: str) -> bool:
            return (
                (not self.ids or one in self.ids)
                and (not self.sender or envelope.reverse_path.lower() == self.sender)
                and (not self.domain or any(domain_of(r.address) == self.domain for r in envelope.recipients))
                and (not self.like or self._is_like(envelope, one))
            )

        return wanted

    def _is_like(self, envelope: "Envelope", one: str) -> bool:
        part = self.like[1:].lower()
        texts = {"I": [one], "S": [envelope.reverse_path], "R": [recipient.address for recipient in envelope.recipients]}
        return any(part in text.lower() for text in texts[self.like[0]])
