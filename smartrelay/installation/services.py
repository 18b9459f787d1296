"""Steps that tell a running systemd about the units."""

import os
from dataclasses import dataclass

from smartrelay.installation import commands
from smartrelay.installation.places import Places
from smartrelay.installation.step import Site
from smartrelay.installation.units import OTHER_DOOR, SERVERS, SERVICE, enabled


def running(places: Places) -> bool:
    """Whether there is a service manager to talk to: the machine's, or the user's own."""
    if places.root:
        return False
    if places.user:
        return os.path.exists(f"{os.environ.get('XDG_RUNTIME_DIR', '/nonexistent')}/systemd/private")
    return os.path.isdir("/run/systemd/system")


def manager(places: Places) -> list[str]:
    """The option of systemctl for the service manager that is meant."""
    return ["--user"] if places.user else []


@dataclass(frozen=True)
class Services:
    """The timer, the path unit and the socket, enabled and started; again when the files have changed."""

    site: Site
    changed: bool

    def needed(self) -> bool:
        places = self.site.places
        if not running(places):
            return False
        asked = [(verb, unit) for verb in ("is-enabled", "is-active") for unit in enabled(places)]
        return self.changed or not all(
            commands.succeeds("systemctl", *manager(places), verb, "--quiet", unit) for verb, unit in asked
        )

    def describe(self) -> str:
        return f"enable and start {' and '.join(enabled(self.site.places))}"

    def apply(self) -> None:
        scope, units = manager(self.site.places), enabled(self.site.places)
        self.site.record.add("services", " ".join(units))
        commands.run("systemctl", *scope, "daemon-reload")
        commands.run("systemctl", *scope, "enable", *units)
        # Not `enable --now`: that leaves a timer that is running with its old times.
        commands.run("systemctl", *scope, "restart", *units)


@dataclass(frozen=True)
class NoServices:
    """Taken away: nothing starts a pass any more, and one that runs ends in good order before its files go."""

    site: Site

    def needed(self) -> bool:
        return running(self.site.places)

    def describe(self) -> str:
        return f"stop and disable {' and '.join(enabled(self.site.places))}"

    def apply(self) -> None:
        places = self.site.places
        scope, others = manager(places), () if places.user else (OTHER_DOOR,)
        commands.run("systemctl", *scope, "disable", "--now", *enabled(places), *others)
        commands.run("systemctl", *scope, "stop", SERVICE, *(() if places.user else SERVERS))


@dataclass(frozen=True)
class Reload:
    """systemd forgets units whose files are gone."""

    site: Site

    def needed(self) -> bool:
        return running(self.site.places)

    def describe(self) -> str:
        return "tell systemd that the units are gone"

    def apply(self) -> None:
        commands.run("systemctl", *manager(self.site.places), "daemon-reload")
