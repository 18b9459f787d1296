"""The health as a monitoring plugin says it: one line of text, a bar, and performance data (Nagios' plugin interface)."""

from smartrelay import duration
from smartrelay.cli.diagnosis import STATES, Diagnosis, Thresholds, age, messages
from smartrelay.spool.status_file import Status


def line(found: Diagnosis, limits: Thresholds) -> str:
    """The line, without its end."""
    text = "; ".join(found.problems)
    if found.status is not None:
        summary = _summary(found.status, found)
        text = f"{text} ({summary})" if text else summary
    # the bar is where the performance data begins
    said = f"SMARTRELAY {STATES[found.state]} - {text.replace('|', '/')}"
    return f"{said} | {' '.join(_performance(found.status, found, limits))}" if found.status else said


def _summary(status: Status, found: Diagnosis) -> str:
    waiting = status.messages.waiting
    parts = [f"{messages(waiting.number)} waiting"]
    if waiting.number:
        parts[0] += f", the oldest for {duration.short(found.oldest_age)}"
    if status.messages.held.number:
        parts.append(f"{status.messages.held.number} held")
    if status.offline:
        parts.append("offline")
    success = status.totals.success
    parts.append(f"last delivery {duration.short(age(success, found.now))} ago" if success else "no delivery yet")
    return ", ".join(parts)


def _performance(status: Status, found: Diagnosis, limits: Thresholds) -> list[str]:
    """label=value[unit];warn;crit;min each; a "c" marks what only grows."""
    census, totals = status.messages, status.totals
    parts = [
        f"queue={census.waiting.number};{limits.warn_queue};{limits.crit_queue};0",
        f"oldest={found.oldest_age:.0f}s;{limits.warn_age:.0f};{limits.crit_age:.0f};0",
    ]
    parts += [f"{name}={getattr(census, name).number};;;0" for name in census._fields]
    parts += [f"{name}_total={getattr(totals, name)}c" for name in ("delivered", "deferred", "bounced", "expired")]
    parts.append(f"bad_hosts={totals.bad_hosts};;;0")
    if status.free is not None:
        parts.append(f"free={status.free}B;;{status.needed}:;0")
    return parts
