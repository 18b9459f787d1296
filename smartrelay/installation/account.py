"""Steps for the system user that owns the spool, and for the directories that belong to it."""

import os
from dataclasses import dataclass

from smartrelay.errors import CannotCreate
from smartrelay.installation import commands, data, units
from smartrelay.installation.places import SERVICE_USER, Places
from smartrelay.installation.step import Site


def ids(places: Places) -> tuple[int, int] | None:
    """uid and gid of the service user, on this machine or in the scratch root's /etc/passwd; None where there is
    none."""
    if not places.root:
        import pwd  # below a scratch root the machine's own users say nothing

        try:
            entry = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return None
        return entry.pw_uid, entry.pw_gid
    try:
        with open(places.real("/etc/passwd"), encoding="utf-8", errors="replace") as file:
            found = [line.split(":") for line in file if line.startswith(f"{SERVICE_USER}:")]
        return int(found[0][2]), int(found[0][3])
    except (OSError, IndexError, ValueError):
        return None


def manageable(places: Places) -> bool:
    """Whether there are users to manage: never for one user's installation, nor in a scratch root without a passwd
    file."""
    return not places.user and os.geteuid() == 0 and os.path.exists(places.real("/etc/passwd"))


@dataclass(frozen=True)
class Account:
    """The system user `smartrelay`: home the spool, no shell."""

    site: Site

    def needed(self) -> bool:
        return manageable(self.site.places) and ids(self.site.places) is None

    def describe(self) -> str:
        return f"create system user {SERVICE_USER} (home {self.site.places.spool}, no login)"

    def apply(self) -> None:
        places = self.site.places
        self.site.record.add("user", SERVICE_USER, spool=places.spool)
        if commands.present("systemd-sysusers"):
            line = units.render(data.read("systemd", "smartrelay.sysusers"), places, "", "")
            commands.run("systemd-sysusers", *([f"--root={places.root}"] if places.root else []), "-", text=line)
        elif commands.present("useradd"):
            prefix = ["--prefix", places.root] if places.root else []
            wanted = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
            commands.run("useradd", *prefix, *wanted, "--home-dir", places.spool, SERVICE_USER)
        else:
            raise CannotCreate(
                f"there is neither systemd-sysusers nor useradd: make a system user {SERVICE_USER} and run setup again"
            )


@dataclass(frozen=True)
class OwnedDirectory:
    """A directory of the service user's (or of the user who runs `setup --user`): the spool, /run/smartrelay. One
    that is there and belongs to root is handed over: mail that root queued before there was a user must not be shut
    in."""

    site: Site
    path: str
    mode: int
    kind: str

    def needed(self) -> bool:
        real = self.site.places.real(self.path)
        return not os.path.isdir(real) or self._foreign(real)

    def describe(self) -> str:
        if os.path.isdir(self.site.places.real(self.path)):
            return f"give {self.path}, and what is in it, to {SERVICE_USER}"
        return f"create directory {self.path} ({self.mode:04o}{self._whose()})"

    def apply(self) -> None:
        real = self.site.places.real(self.path)
        self.site.record.add(self.kind, self.path)
        if not os.path.isdir(real):
            os.mkdir(real, 0o700)
            os.chmod(real, self.mode)
        if self._foreign(real):
            owner = ids(self.site.places)
            if owner is None:
                raise CannotCreate(f"there is no user {SERVICE_USER} to give {self.path} to")
            _give(real, *owner)

    def _whose(self) -> str:
        return f", owner {SERVICE_USER}" if manageable(self.site.places) else ""

    def _foreign(self, real: str) -> bool:
        if not manageable(self.site.places):
            return False
        owner, uid = ids(self.site.places), os.stat(real).st_uid
        return uid == 0 if owner is None else uid == 0 and owner[0] != 0


def _give(top: str, uid: int, gid: int) -> None:
    """Top last: until then nobody but root gets in, so nothing can be swapped under our hands."""
    for _, directories, names, descriptor in os.fwalk(top, topdown=False, follow_symlinks=False):
        for name in directories + names:
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(top, uid, gid, follow_symlinks=False)
