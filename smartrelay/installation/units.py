"""The systemd files, with the real paths written into them."""

from smartrelay.installation import data
from smartrelay.installation.places import Places

WATCHERS = ("smartrelay-flush.timer", "smartrelay-flush.path")
SERVICE = "smartrelay-flush.service"
# A mount option of the sandbox hides these from the service; a program that is below one must be seen.
_HOMES = ("/home/", "/root/", "/run/user/")


def render(text: str, places: Places, program: str) -> str:
    """`text` with its placeholders filled. A percent sign would begin a specifier, in units as in sysusers.d and
    tmpfiles.d; other characters that mean something there never get this far (`places`)."""
    values = {"@SMARTRELAY@": program, "@CONFIG@": places.config, "@SPOOL@": places.spool}
    for name, value in values.items():
        text = text.replace(name, value.replace("%", "%%"))
    return text


def rendered(places: Places, program: str, needs: tuple[str, ...] = ()) -> dict[str, str]:
    """Path -> text of every systemd file. `needs`: the paths that the program must be able to read."""
    files = {}
    for name in (SERVICE, *WATCHERS):
        own = places.user and not name.endswith(".path")
        text = data.read("systemd", f"user/{name}" if own else name)
        files[f"{places.units}/{name}"] = render(text, places, program)
    if not places.user:
        if any(path.startswith(_HOMES) for path in needs):
            service = f"{places.units}/{SERVICE}"
            files[service] = files[service].replace("\nProtectHome=yes\n", "\nProtectHome=read-only\n")
        files[places.sysusers] = render(data.read("systemd", "smartrelay.sysusers"), places, program)
        files[places.tmpfiles] = render(data.read("systemd", "smartrelay.tmpfiles"), places, program)
    return files
