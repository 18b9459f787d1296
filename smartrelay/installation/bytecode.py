"""A step that compiles the package: without cached bytecode each message costs half as much again, and a user who may
not write beside the package would pay that for ever."""

import compileall
import importlib.util
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from smartrelay.installation import data
from smartrelay.installation.step import Site


@dataclass(frozen=True)
class Bytecode:
    """The package's modules, compiled for this interpreter. Not below a scratch root that does not hold the package,
    and not where the package belongs to someone else."""

    site: Site

    def needed(self) -> bool:
        root = self.site.places.root
        inside = not root or data.PACKAGE.startswith(f"{root}/")
        return inside and os.access(data.PACKAGE, os.W_OK) and any(_stale(source) for source in _sources())

    def describe(self) -> str:
        return f"compile {data.PACKAGE}"

    def apply(self) -> None:
        compileall.compile_dir(data.PACKAGE, quiet=2)


def _sources() -> Iterator[str]:
    for directory, _, names in os.walk(data.PACKAGE):
        yield from (f"{directory}/{name}" for name in names if name.endswith(".py"))


def _stale(source: str) -> bool:
    """Whether the cached bytecode does not match the source: bytes 8 to 16 of it are the source's time and size,
    unless the flags before them say that it is tied to a checksum."""
    facts = os.stat(source)
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            head = file.read(16)
    except OSError:
        return True
    if head[:4] != importlib.util.MAGIC_NUMBER:
        return True
    flags, made_from = head[4:8], head[8:16]
    return not any(flags) and made_from != struct.pack("<LL", int(facts.st_mtime) & 0xFFFFFFFF, facts.st_size & 0xFFFFFFFF)
