"""What trying one part of the configuration has brought to light."""

from collections.abc import Iterable
from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"
"""FAIL: mail does not go, or is not taken. WARN: it goes, but somebody should look; or it could not be tried."""

_ORDER = (OK, WARN, FAIL)


class Finding(NamedTuple):
    """One thing that was tried. kind: what was, as a word that programs can rely on. words: what was tried and what came of it,
    without any secret. mend: what to do, "" for nothing. relay: the rule that it is about, host: "host:port" or a path, each ""
    for none. ends: when a certificate ends, in Unix seconds."""

    status: str
    kind: str
    words: str
    mend: str = ""
    relay: str = ""
    host: str = ""
    ends: float | None = None

    @property
    def what(self) -> str:
        """What was tried, in a few words."""
        return " ".join(filter(None, (self.kind, self.relay, self.host)))


def worst(findings: Iterable[Finding]) -> str:
    """The status of all of them together."""
    return max((finding.status for finding in findings), key=_ORDER.index, default=OK)


def forgiven(findings: Iterable[Finding]) -> list[Finding]:
    """The same, with warnings for failures: another does what they should."""
    return [finding._replace(status=WARN) if finding.status == FAIL else finding for finding in findings]
