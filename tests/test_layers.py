"""The layers of the package hold: read from the imports, so that no module has to be run.

The laws are those of the design's section on parts. Imports inside functions count for the direction: they are there
for start-up time, never to reach upward. Imports for the type checker alone count for the direction too, but not for
cycles, which they can't cause.
"""

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from textwrap import dedent

import pytest

PACKAGE = "smartrelay"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What each part may import. A part is a module or a sub-package right below the package; a module is free to import
# others of its own part.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "settings": frozenset({"errors"}),
    "duration": frozenset(),
    "secret": frozenset({"errors"}),
    "mistake": frozenset(),
    "values": frozenset({"errors", "settings", "duration", "mail"}),
    "config": frozenset({"errors", "settings", "values", "mistake"}),
    "mail": frozenset({"errors"}),
    "sinks": frozenset(),
    "maillog": frozenset({"errors", "mail", "sinks"}),
    "spool": frozenset({"errors", "mail", "maillog"}),
    "submit": frozenset({"errors", "settings", "mail", "maillog", "sinks", "spool"}),
    "routing": frozenset({"errors", "config", "secret", "mail", "maillog"}),
    "smtp": frozenset({"errors", "config", "mail", "maillog"}),
    "relay": frozenset({"errors", "config", "values", "duration", "mail", "maillog", "spool", "routing", "smtp"}),
    "installation": frozenset({"errors", "config", "settings"}),
    "checks": frozenset({"errors", "duration", "secret", "config", "settings", "mail", "spool", "routing", "smtp"})
    | {"sinks", "submit", "relay", "installation"},
    "door": frozenset({"errors", "settings", "maillog", "submit"}),
}
MAY_IMPORT["cli"] = frozenset(MAY_IMPORT) - {"door"}
MAY_IMPORT["__main__"] = frozenset({"errors", "cli"})
# The package itself hands out public names, lazily: it may reach anything but the programs.
MAY_IMPORT["__init__"] = frozenset(MAY_IMPORT) - {"cli", "door", "__main__"}

# Each dependency has one home.
HOMES: dict[str, frozenset[str]] = {
    "dns": frozenset({"routing"}),
    "smtplib": frozenset({"smtp"}),
    "ssl": frozenset({"smtp"}),
    "click": frozenset({"cli", "__main__"}),
    "rich": frozenset({"cli", "__main__"}),
    "idna": frozenset({"mail"}),
    "filelock": frozenset(MAY_IMPORT),  # in one module, wherever that is
}

SAYS_NOTHING = frozenset({"utils", "util", "helpers", "helper", "common", "core", "base", "misc"})


@dataclass
class Module:
    """A module's name, the part it belongs to, and what it imports."""

    name: str
    part: str
    imports: set[str] = field(default_factory=set)
    imports_for_types: set[str] = field(default_factory=set)


def read_tree(root: str) -> dict[str, Module]:
    """Read all modules of the package that stands in `root`."""
    sources: dict[str, str] = {}
    packages: set[str] = set()
    for folder, subfolders, files in os.walk(os.path.join(root, PACKAGE)):
        subfolders[:] = sorted(set(subfolders) - {"__pycache__"})
        for file in files:
            if not file.endswith(".py"):
                continue
            name = os.path.relpath(os.path.join(folder, file), root)[:-3].replace(os.sep, ".")
            if name.endswith(".__init__"):
                name = name.removesuffix(".__init__")
                packages.add(name)
            with open(os.path.join(folder, file), encoding="utf-8") as source:
                sources[name] = source.read()
    modules = {name: Module(name, _part(name)) for name in sources}
    for name, source_text in sources.items():
        package = name if name in packages else name.rpartition(".")[0]
        for target, for_types in _imports(ast.parse(source_text), package, set(sources)):
            (modules[name].imports_for_types if for_types else modules[name].imports).add(target)
    return modules


def _part(name: str) -> str:
    return "__init__" if name == PACKAGE else name.split(".")[1]


def _imports(tree: ast.AST, package: str, known: set[str], for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """What is imported anywhere below `tree`, in full names, and whether only for the type checker."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield alias.name, for_types
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) + 1 - level] if level else []
                source = ".".join([*above, *([module] if module else [])])
                for alias in names:
                    # A name is a module of ours or something inside one; the version is the one thing that the
                    # lowest part may take from the package itself.
                    full = f"{source}.{alias.name}"
                    if full != f"{PACKAGE}.__version__":
                        yield (full if full in known else source), for_types
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[first, *_]):
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value, for_types
                yield from _imports(node, package, known, for_types)
            case ast.If(test=test, body=body, orelse=orelse) if ast.unparse(test).split(".")[-1] == "TYPE_CHECKING":
                yield from _imports(ast.Module(body=body, type_ignores=[]), package, known, for_types=True)
                yield from _imports(ast.Module(body=orelse, type_ignores=[]), package, known, for_types)
            case _:
                yield from _imports(node, package, known, for_types)


def violations(modules: dict[str, Module]) -> list[str]:
    """Each breach of the laws as one sentence."""
    parts = {module.part for module in modules.values()}
    found = [f"{part} is not a known part" for part in sorted(parts - set(MAY_IMPORT))]
    for module in modules.values():
        if SAYS_NOTHING & set(module.name.split(".")):
            found.append(f"{module.name} has a name that says nothing")
        for target in sorted(module.imports | module.imports_for_types):
            if not _allowed(module.part, target):
                found.append(f"{module.name} may not import {target}")
    locks = [module.name for module in modules.values() if "filelock" in _tops(module)]
    if len(locks) > 1:
        found.append(f"filelock is imported by more than one module: {', '.join(sorted(locks))}")
    graph = {module.name: (module.imports & set(modules)) - {module.name} for module in modules.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"import cycle: {' <- '.join(error.args[1])}")
    return found


def _allowed(part: str, target: str) -> bool:
    top = target.partition(".")[0]
    if top == PACKAGE:
        return _part(target) == part or _part(target) in MAY_IMPORT.get(part, frozenset())
    if top in HOMES:
        return part in HOMES[top]
    return top in sys.stdlib_module_names


def _tops(module: Module) -> set[str]:
    return {target.partition(".")[0] for target in module.imports | module.imports_for_types}


def test_the_layers_hold() -> None:
    assert violations(read_tree(ROOT)) == []


def test_the_lock_has_one_home() -> None:
    assert len([module for module in read_tree(ROOT).values() if "filelock" in _tops(module)]) == 1


# The checker can fail: a small tree for each law, and a lawful one beside it.
LAWFUL = {
    "__init__.py": "__version__ = '0'\ndef __getattr__(name):\n    from smartrelay.relay import manager\n",
    "errors.py": "import os",
    "mail/__init__.py": "from smartrelay.mail.address import Address",
    "mail/address.py": "from ..errors import AddressError",
    "mail/envelope.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import header",
    "mail/header.py": "from smartrelay.mail import envelope",
    "routing/mx.py": "import dns.resolver\nfrom smartrelay import config, __version__",
    "config.py": "import smartrelay.errors",
    "spool/queue.py": "from filelock import FileLock",
    "relay/manager.py": "def go():\n    from smartrelay.spool.queue import Queue",
    "cli/show.py": "import click, rich.table",
}


def _tree(folder: str, files: dict[str, str]) -> dict[str, Module]:
    for name, text in files.items():
        path = os.path.join(folder, PACKAGE, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(dedent(text))
    return read_tree(folder)


def test_a_lawful_tree_passes(tmp_path: os.PathLike[str]) -> None:
    assert violations(_tree(os.fspath(tmp_path), LAWFUL)) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "errors.py",
            "from smartrelay.mail import address",
            "smartrelay.errors may not import smartrelay.mail.address",
        ),
        ("mail/address.py", "from .. import config", "smartrelay.mail.address may not import smartrelay.config"),
        ("spool/queue.py", "from ..routing.mx import x", "smartrelay.spool.queue may not import smartrelay.routing.mx"),
        ("submit/enqueue.py", "import smartrelay.relay", "smartrelay.submit.enqueue may not import smartrelay.relay"),
        (
            "submit/enqueue.py",
            "from smartrelay.config import x",
            "smartrelay.submit.enqueue may not import smartrelay.config",
        ),
        ("errors.py", "def f():\n    import smartrelay.mail", "smartrelay.errors may not import smartrelay.mail"),
        (
            "errors.py",
            "import typing\nif typing.TYPE_CHECKING:\n    import smartrelay.mail",
            "smartrelay.errors may not import smartrelay.mail",
        ),
        (
            "errors.py",
            "import importlib\nimportlib.import_module('smartrelay.cli.show')",
            "smartrelay.errors may not import smartrelay.cli.show",
        ),
        ("mail/address.py", "from smartrelay import Queue", "smartrelay.mail.address may not import smartrelay"),
        ("relay/manager.py", "import dns", "smartrelay.relay.manager may not import dns"),
        ("relay/manager.py", "import ssl", "smartrelay.relay.manager may not import ssl"),
        ("submit/enqueue.py", "from smtplib import SMTP", "smartrelay.submit.enqueue may not import smtplib"),
        ("spool/queue.py", "from click import echo", "smartrelay.spool.queue may not import click"),
        ("cli/show.py", "import requests", "smartrelay.cli.show may not import requests"),
        (
            "relay/lock.py",
            "import filelock",
            "filelock is imported by more than one module: smartrelay.relay.lock, smartrelay.spool.queue",
        ),
        ("mail/utils.py", "", "smartrelay.mail.utils has a name that says nothing"),
        ("plugins/__init__.py", "", "plugins is not a known part"),
        ("tools.py", "", "tools is not a known part"),
    ],
)
def test_a_breach_is_found(tmp_path: os.PathLike[str], file: str, text: str, complaint: str) -> None:
    found = violations(_tree(os.fspath(tmp_path), {**LAWFUL, file: text}))
    # An import upward often closes a cycle too; that has its own test.
    assert [sentence for sentence in found if not sentence.startswith("import cycle")] == [complaint]


def test_a_cycle_is_found(tmp_path: os.PathLike[str]) -> None:
    files = {"mail/status.py": "from . import dsn", "mail/dsn.py": "def f():\n    from .status import Status"}
    (complaint,) = violations(_tree(os.fspath(tmp_path), {**LAWFUL, **files}))
    assert complaint.startswith("import cycle: ")
    assert "smartrelay.mail.dsn" in complaint
    assert "smartrelay.mail.status" in complaint
