"""A step for machines with dpkg: a name is taken over by a diversion, so that a package that is installed later puts
its own file beside it instead of over it."""

import os
from dataclasses import dataclass

from smartrelay.installation import commands
from smartrelay.installation.places import Places
from smartrelay.installation.step import Site


def usable(places: Places) -> bool:
    """Whether dpkg keeps the files of this machine, or of the scratch root."""
    return not places.user and commands.present("dpkg-divert") and os.path.exists(places.real("/var/lib/dpkg/status"))


def divert(places: Places, *arguments: str) -> str:
    """Calls dpkg-divert for this machine, or for the scratch root."""
    return commands.run("dpkg-divert", *(["--root", places.root] if places.root else []), *arguments)


def held_by(places: Places, path: str) -> str:
    """Who diverts this path: "LOCAL", a package's name, or ""."""
    return divert(places, "--listpackage", path).strip()


@dataclass(frozen=True)
class Diversion:
    """A local diversion of one path to PATH.distrib; what is there moves with it."""

    site: Site
    path: str

    def needed(self) -> bool:
        return held_by(self.site.places, self.path) != "LOCAL"

    def describe(self) -> str:
        return f"divert {self.path} to {self.path}.distrib by dpkg-divert"

    def apply(self) -> None:
        places, record = self.site.places, self.site.record
        real, link = places.real(self.path), record.find("link", self.path)
        if link is not None and os.path.islink(real) and os.readlink(real) == link["target"]:
            os.unlink(real)  # ours, from before dpkg was here: the link step makes it again
        record.add("diversion", self.path)
        divert(places, "--local", "--rename", "--add", self.path)
