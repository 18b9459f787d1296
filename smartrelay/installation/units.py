"""The systemd files, with the real paths written into them."""

from smartrelay.installation import data
from smartrelay.installation.places import Places
from smartrelay.settings import SYSTEM_SOCKET

WATCHERS = ("smartrelay-flush.timer", "smartrelay-flush.path")
SERVICE = "smartrelay-flush.service"
DOOR = "smartrelay-submit.socket"
OTHER_DOOR = "smartrelay-smtp.socket"
"""Put in its place, but not enabled: nothing listens on a port unless it is wanted."""

SERVERS = ("smartrelay-submit.service", "smartrelay-smtp.service")
# A mount option of the sandbox hides these from the service; a program that is below one must be seen.
_HOMES = ("/home/", "/root/", "/run/user/")


def enabled(places: Places) -> tuple[str, ...]:
    """The units that are to run. A user's own spool is written by nobody else: it needs no door."""
    return WATCHERS if places.user else (*WATCHERS, DOOR)


def render(text: str, places: Places, program: str, sendmail: str) -> str:
    """`text` with its placeholders filled. A percent sign would begin a specifier, in units as in sysusers.d and
    tmpfiles.d; other characters that mean something there never get this far (`places`)."""
    values = {
        "@SMARTRELAY@": program,
        "@SENDMAIL@": sendmail,
        "@CONFIG@": places.config,
        "@SPOOL@": places.spool,
        "@SOCKET@": SYSTEM_SOCKET,
    }
    for name, value in values.items():
        text = text.replace(name, value.replace("%", "%%"))
    return text


def rendered(places: Places, program: str, sendmail: str, needs: tuple[str, ...] = ()) -> dict[str, str]:
    """Path -> text of every systemd file. sendmail: the program that takes mail; needs: the paths that must be readable."""
    files = {}
    for name in (SERVICE, *WATCHERS, *(() if places.user else (DOOR, OTHER_DOOR, *SERVERS))):
        own = places.user and not name.endswith(".path")
        text = render(data.read("systemd", f"user/{name}" if own else name), places, program, sendmail)
        if not places.user and any(path.startswith(_HOMES) for path in needs):
            text = text.replace("\nProtectHome=yes\n", "\nProtectHome=read-only\n")
        files[f"{places.units}/{name}"] = text
    if not places.user:
        files[places.sysusers] = render(data.read("systemd", "smartrelay.sysusers"), places, program, sendmail)
        files[places.tmpfiles] = render(data.read("systemd", "smartrelay.tmpfiles"), places, program, sendmail)
    return files
