"""What a pass is told to do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from smartrelay.mail.envelope import Envelope


class Wish(NamedTuple):
    """What a pass is told to do. ids: only these; everything: whatever is not held."""

    ids: frozenset[str] = frozenset()
    domain: str = ""
    sender: str = ""
    everything: bool = False

    @property
    def told(self) -> bool:
        """Whether this is more than a plain pass: then a busy lock is an error."""
        return bool(self.ids or self.domain or self.sender or self.everything)

    @property
    def chosen(self) -> "Callable[[Envelope, str], bool] | None":
        """Which messages, None for all."""
        if not (self.ids or self.domain or self.sender):
            return None
        from smartrelay.mail.address import domain_of

        def wanted(envelope: "Envelope", one: str) -> bool:
            return (
                (not self.ids or one in self.ids)
                and (not self.sender or envelope.reverse_path.lower() == self.sender)
                and (not self.domain or any(domain_of(r.address) == self.domain for r in envelope.recipients))
            )

        return wanted
