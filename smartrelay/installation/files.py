"""Steps that put directories, files and links in place."""

import hashlib
import os
from dataclasses import dataclass

from smartrelay.installation.step import Site


def checksum(data: bytes) -> str:
    """What tells a file as setup left it from one that a person has changed."""
    return hashlib.sha256(data).hexdigest()


def read(path: str) -> bytes | None:
    """The bytes of a regular file, links not followed; None where there is none."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def free_name(path: str) -> str:
    """A name beside `path` under which what is there can be kept."""
    saved, number = f"{path}.smartrelay-saved", 1
    while os.path.lexists(saved):
        number += 1
        saved = f"{path}.smartrelay-saved.{number}"
    return saved


def write(path: str, data: bytes, mode: int) -> None:
    """A file in one piece: whoever reads the name sees the old one or the new one."""
    written = f"{path}.smartrelay-new"
    with open(written, "wb") as file:
        file.write(data)
    os.chmod(written, mode)
    os.replace(written, path)


@dataclass(frozen=True)
class Directory:
    """A directory that leads to something of ours; it goes when it is empty, if we made it."""

    site: Site
    path: str
    mode: int = 0o755

    def needed(self) -> bool:
        return not os.path.isdir(self.site.places.real(self.path))

    def describe(self) -> str:
        return f"create directory {self.path} ({self.mode:04o})"

    def apply(self) -> None:
        self.site.record.add("directory", self.path)
        real = self.site.places.real(self.path)
        os.mkdir(real)
        os.chmod(real, self.mode)


@dataclass(frozen=True)
class File:
    """A file with this content. One that is there and is not ours, or was changed since, is kept under another name;
    with `once`, whatever is there stays."""

    site: Site
    path: str
    data: bytes
    what: str
    mode: int = 0o644
    once: bool = False

    def needed(self) -> bool:
        real = self.site.places.real(self.path)
        if self.once:
            return not os.path.lexists(real)
        return read(real) != self.data or os.stat(real).st_mode & 0o7777 != self.mode

    def describe(self) -> str:
        real = self.site.places.real(self.path)
        if not os.path.lexists(real):
            return f"create {self.what} {self.path}"
        if self._as_left(real):
            return f"replace {self.what} {self.path}"
        return f"replace {self.what} {self.path} (the present one becomes {free_name(self.path)})"

    def apply(self) -> None:
        real, record = self.site.places.real(self.path), self.site.record
        if os.path.lexists(real) and not self._as_left(real):
            saved = free_name(real)
            if record.find("file", self.path) is None:
                record.add("aside", self.path, saved=self.site.places.seen(saved))
            os.rename(real, saved)
        record.add("file", self.path, sha256=checksum(self.data))
        write(real, self.data, self.mode)

    def _as_left(self, real: str) -> bool:
        entry, data = self.site.record.find("file", self.path), read(real)
        return data is not None and (data == self.data or (entry is not None and entry["sha256"] == checksum(data)))


@dataclass(frozen=True)
class Link:
    """A symbolic link. What stands in its place and is not ours is moved aside (by a diversion before us, if
    `diverted`), and comes back when the link goes."""

    site: Site
    path: str
    target: str
    diverted: bool = False

    def needed(self) -> bool:
        real = self.site.places.real(self.path)
        return not os.path.islink(real) or os.readlink(real) != self.target

    def describe(self) -> str:
        line = f"link {self.path} -> {self.target}"
        if self._in_the_way() and not self.diverted:
            line += f" (the present one becomes {free_name(self.path)})"
        return line

    def apply(self) -> None:
        real, record = self.site.places.real(self.path), self.site.record
        if self._in_the_way():
            saved = free_name(real)
            record.add("aside", self.path, saved=self.site.places.seen(saved))
            os.rename(real, saved)
        elif os.path.lexists(real):
            os.unlink(real)
        record.add("link", self.path, target=self.target)
        os.symlink(self.target, real)

    def _in_the_way(self) -> bool:
        real, entry = self.site.places.real(self.path), self.site.record.find("link", self.path)
        if not os.path.lexists(real):
            return False
        ours = entry is not None and os.path.islink(real) and os.readlink(real) == entry["target"]
        return not ours and self.needed()
