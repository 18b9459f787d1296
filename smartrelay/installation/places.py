"""Where the parts of an installation go: on the system, below a scratch root, or in a user's home."""

import os
from dataclasses import dataclass, field

from smartrelay.errors import CannotCreate, UsageError
from smartrelay.settings import SYSTEM_FILE, SYSTEM_SPOOL

SERVICE_USER = "smartrelay"
_UNWRITABLE = frozenset("\"'\\$\n\r\t\0")


@dataclass(frozen=True)
class Places:
    """Paths as the installed programs see them; `real` tells where one is for us, which differs below a scratch
    root. completions: for each shell the name of our file for it, and where it looks for such files."""

    root: str
    user: bool
    lib: str
    man: str
    units: str
    config: str
    spool: str
    names: tuple[str, ...]
    default_config: bool
    default_spool: bool
    completions: tuple[tuple[str, str], ...]
    tmpfiles: str = "/etc/tmpfiles.d/smartrelay.conf"
    sysusers: str = "/etc/sysusers.d/smartrelay.conf"
    runtime: str = "/run/smartrelay"
    stub: str = field(init=False)
    bundle: str = field(init=False)
    record: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stub", f"{self.lib}/sendmail")
        object.__setattr__(self, "bundle", f"{self.lib}/sendmail.bundle")
        object.__setattr__(self, "record", f"{self.lib}/installed.json")

    def real(self, path: str) -> str:
        """Where `path` is for this process. A directory link that leads out of the scratch root is refused: what is
        meant for an image must never land on the machine that builds it."""
        if not self.root:
            return path
        found = self.root + path
        parent = os.path.realpath(os.path.dirname(found))
        if os.path.commonpath([parent, os.path.realpath(self.root)]) != os.path.realpath(self.root):
            raise CannotCreate(f"{os.path.dirname(found)} leads out of {self.root} to {parent}, which stays untouched")
        return found

    def seen(self, path: str) -> str:
        """A path of this process as the installed programs will see it."""
        return path[len(self.root) :] if self.root and path.startswith(self.root + "/") else path


def system_places(root: str, config: str, spool: str) -> Places:
    """The places of an installation for the whole machine, below `root` if that is not ""."""
    return Places(
        root=_root(root),
        user=False,
        lib="/usr/local/lib/smartrelay",
        man="/usr/local/share/man",
        units="/etc/systemd/system",
        config=_absolute(config or SYSTEM_FILE),
        spool=_absolute(spool or SYSTEM_SPOOL),
        names=("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"),
        default_config=not config or _absolute(config) == SYSTEM_FILE,
        default_spool=not spool or _absolute(spool) == SYSTEM_SPOOL,
        # fish looks below /usr/local only where $XDG_DATA_DIRS says so
        completions=_completions("/usr/local/share", "/etc/fish/completions"),
    )


def user_places(root: str, config: str, spool: str) -> Places:
    """The places of an installation for one user, all below the home (and `root`, if that is not "")."""
    home = _absolute(os.path.expanduser("~"))
    settings = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    state = os.environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    shared = os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    return Places(
        root=_root(root),
        user=True,
        lib=f"{home}/.local/lib/smartrelay",
        man=_absolute(f"{shared}/man"),
        units=_absolute(f"{settings}/systemd/user"),
        config=_absolute(config or f"{settings}/smartrelay/smartrelay.toml"),
        spool=_absolute(spool or f"{state}/smartrelay"),
        names=tuple(f"{home}/.local/bin/{name}" for name in ("sendmail", "mailq", "newaliases")),
        default_config=False,
        default_spool=False,
        completions=_completions(_absolute(shared), _absolute(f"{shared}/fish/vendor_completions.d")),
    )


def _completions(shared: str, fish: str) -> tuple[tuple[str, str], ...]:
    return (
        ("smartrelay.bash", f"{shared}/bash-completion/completions/smartrelay"),
        ("_smartrelay", f"{shared}/zsh/site-functions/_smartrelay"),
        ("smartrelay.fish", f"{fish}/smartrelay.fish"),
    )


def _root(root: str) -> str:
    if not root:
        return ""
    if not os.path.isdir(root):
        raise UsageError(f"--root {root}: there is no such directory; make it first")
    return os.path.abspath(root).rstrip("/")


def _absolute(path: str) -> str:
    """A normal absolute path that units, configuration and stub can carry."""
    found = os.path.normpath(os.path.abspath(path))
    if not _UNWRITABLE.isdisjoint(found):
        raise UsageError(f"{found!a}: a path with quotes, $, \\ or control characters cannot be written into a unit")
    return found
