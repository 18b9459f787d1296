"""The plan that takes an installation away: what the record says, backwards. What an operator has changed stays, and
mail stays."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from smartrelay.installation import account, commands, diversion, files
from smartrelay.installation.places import SERVICE_USER, Places
from smartrelay.installation.plan import Plan
from smartrelay.installation.record import Entry
from smartrelay.installation.services import NoServices, Reload
from smartrelay.installation.step import Site

_MAIL = ("new", "cur", "hold", "corrupt")
# Directories go last, whatever the order of the deeds was: they must be empty, and the record lies in one of them.
_FIRST, _MIDDLE, _LAST = 0, 1, 2
_ORDER = {"services": _FIRST, "directory": _LAST}


def removal(here: Site) -> Plan:
    """The steps that undo what the record of this place says, and remarks on what stays."""
    plan = Plan()
    backwards = list(here.record)[::-1]
    entries = sorted(backwards, key=lambda entry: _ORDER.get(entry["kind"], _MIDDLE))
    if any(entry["kind"] == "services" for entry in entries) and NoServices(here).needed():
        plan.steps.append(NoServices(here))
    plan.steps += [Undo(here, entry) for entry in entries]
    if any(entry["kind"] == "services" for entry in entries) and Reload(here).needed():
        plan.steps.append(Reload(here))
    for entry in entries:
        if entry["kind"] == "spool" and (count := waiting(here.places.real(entry["path"]))):
            plan.remarks.append(
                f"{entry['path']} stays, for {count} message{'s are' if count > 1 else ' is'} in it; look at them with "
                f"`smartrelay queue list --spool {entry['path']}`, deliver or delete them, and run setup --remove again"
            )
    return plan


def waiting(spool: str) -> int:
    """How many messages a spool holds, in whatever state."""
    count = 0
    for name in _MAIL:
        try:
            count += len(os.listdir(f"{spool}/{name}"))
        except FileNotFoundError:
            continue
    return count


@dataclass(frozen=True)
class Undo:
    """One deed taken back. It is forgotten when there is nothing left of it to take back."""

    site: Site
    entry: Entry

    def needed(self) -> bool:
        return True

    def describe(self) -> str:
        kind, places = self.entry["kind"], self.site.places
        if kind in ("file", "link") and not _as_left(places, self.entry):
            return f"leave {self.entry['path']}, which is not as setup made it"
        if kind == "spool" and waiting(places.real(self.entry["path"])):
            return f"leave spool {self.entry['path']}, which has mail in it"
        return _WORDS[kind].format(**self.entry)

    def apply(self) -> None:
        if _DEEDS[self.entry["kind"]](self.site.places, self.entry):
            self.site.record.forget(self.entry)


def _as_left(places: Places, entry: Entry) -> bool:
    """Whether a file or link is still what setup put there, or is gone."""
    real = places.real(entry["path"])
    if not os.path.lexists(real):
        return True
    if entry["kind"] == "link":
        return os.path.islink(real) and os.readlink(real) == entry["target"]
    data = files.read(real)
    return data is not None and files.checksum(data) == entry["sha256"]


def _name(places: Places, entry: Entry) -> bool:
    real = places.real(entry["path"])
    if os.path.lexists(real) and _as_left(places, entry):
        os.unlink(real)
    return True


def _aside(places: Places, entry: Entry) -> bool:
    real, saved = places.real(entry["path"]), places.real(entry["saved"])
    if os.path.lexists(saved) and not os.path.lexists(real):
        os.rename(saved, real)
    return True


def _diversion(places: Places, entry: Entry) -> bool:
    if diversion.held_by(places, entry["path"]) == "LOCAL":
        diversion.divert(places, "--local", "--rename", "--remove", entry["path"])
    return True


def _directory(places: Places, entry: Entry) -> bool:
    """One that stays is kept in the record as long as there is one: a later removal can finish."""
    real = places.real(entry["path"])
    if os.path.isdir(real) and not os.path.islink(real) and not os.listdir(real):
        os.rmdir(real)
    return not os.path.isdir(real) or not os.path.exists(places.real(places.record))


def _spool(places: Places, entry: Entry) -> bool:
    """The directories that mail rests in go by rmdir, which mail that has just come stops."""
    real = places.real(entry["path"])
    if waiting(real):
        return False
    for name in _MAIL:
        if os.path.isdir(f"{real}/{name}"):
            os.rmdir(f"{real}/{name}")
    if os.path.isdir(real):
        shutil.rmtree(real)
    return True


def _runtime(places: Places, entry: Entry) -> bool:
    shutil.rmtree(places.real(entry["path"]), ignore_errors=True)
    return True


def _user(places: Places, entry: Entry) -> bool:
    """The user stays as long as the spool does: its number must not go to someone else while it owns mail."""
    if os.path.exists(places.real(entry["spool"])):
        return False
    if account.ids(places) is not None:
        commands.run("userdel", *(["--prefix", places.root] if places.root else []), SERVICE_USER)
    return True


def _nothing(places: Places, entry: Entry) -> bool:
    return True


_DEEDS: dict[str, Callable[[Places, Entry], bool]] = {
    "services": _nothing,  # NoServices has stopped them
    "file": _name,
    "link": _name,
    "aside": _aside,
    "diversion": _diversion,
    "spool": _spool,
    "runtime": _runtime,
    "user": _user,
    "directory": _directory,
}
_WORDS = {
    "services": "forget {path}",
    "file": "remove {path}",
    "link": "remove link {path}",
    "aside": "put {path} back from {saved}",
    "diversion": "end the diversion of {path}",
    "spool": "remove spool {path}",
    "runtime": "remove {path}",
    "user": "remove system user {path}, if its spool is gone",
    "directory": "remove directory {path}, if it is empty",
}
