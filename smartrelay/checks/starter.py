"""What starts the passes: units of systemd, or a line for cron."""

import os
from collections.abc import Iterator

from smartrelay.checks.finding import OK, WARN, Finding
from smartrelay.errors import SmartRelayError
from smartrelay.installation import commands
from smartrelay.installation.places import Places, system_places, user_places
from smartrelay.installation.services import manager, running
from smartrelay.installation.units import SERVICE, WATCHERS


def places_of(file: str, spool: str, *, user: bool) -> Places | None:
    """Where the units for this configuration would be; None for paths that no unit can have."""
    try:
        return user_places("", file, spool) if user else system_places("", file, spool)
    except SmartRelayError:
        return None


def is_installed(places: Places) -> bool:
    """Whether the unit that makes passes is there, and for this configuration."""
    try:
        with open(f"{places.units}/{SERVICE}", encoding="utf-8", errors="replace") as file:
            return f'"{places.config.replace("%", "%%")}"' in file.read()
    except OSError:
        return False


def findings(places: Places, *, usual: bool) -> list[Finding]:
    """A hint where systemd runs and nothing of it makes passes. usual: the spool is the one that `setup` makes; what looks
    after any other is not for us to know, unless there are units for it."""
    if not running(places) or not (usual or is_installed(places)):
        return []
    asleep = [unit for unit in WATCHERS if not commands.succeeds("systemctl", *manager(places), "is-active", "--quiet", unit)]
    if not asleep:
        return [Finding(OK, "passes", f"{' and '.join(WATCHERS)} start them")]
    crontab = next(_crontabs(), "")
    if crontab:
        return [Finding(OK, "passes", f"{crontab} starts them")]
    words = f"{' and '.join(asleep)} {'is' if len(asleep) == 1 else 'are'} not active; mail waits unless something else flushes"
    enable = f"systemctl {' '.join([*manager(places), 'enable', '--now', *asleep])}"
    mend = enable if is_installed(places) else f"smartrelay setup{' --user' if places.user else ''}"
    return [Finding(WARN, "passes", words, mend)]


def _crontabs() -> Iterator[str]:
    """The system's crontabs that have a word of us."""
    try:
        paths = ["/etc/crontab", *(f"/etc/cron.d/{name}" for name in sorted(os.listdir("/etc/cron.d")))]
    except OSError:
        paths = ["/etc/crontab"]
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                if any("smartrelay" in line and "flush" in line for line in file if not line.startswith("#")):
                    yield path
        except OSError:
            continue
