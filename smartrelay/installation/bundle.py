"""The bundle: the code of all modules that enqueueing needs, in one file that is read and unmarshalled at once.

Finding and loading all these small modules costs a sixth of the enqueue command; small modules are worth having, so the
stub gets them in one piece. Like a .pyc the bundle is good for one interpreter and for unchanged sources only; where it is
not, the stub imports the modules themselves, and nothing is lost but the time.
"""

import ast
import importlib.util
import marshal
import os
from dataclasses import dataclass
from types import CodeType

from smartrelay.installation import data, files
from smartrelay.installation.step import Site

MODULES = (
    "smartrelay",
    "smartrelay.errors",
    "smartrelay.submit",
    "smartrelay.submit.options",
    "smartrelay.door",
    "smartrelay.settings",
    "smartrelay.mail",
    "smartrelay.mail.address",
    "smartrelay.mail.header",
    "smartrelay.mail.envelope",
    "smartrelay.spool",
    "smartrelay.spool.durable",
    "smartrelay.spool.access",
    "smartrelay.spool.queue_id",
    "smartrelay.submit.completion",
    "smartrelay.submit.submission",
    "smartrelay.submit.enqueue",
    "smartrelay.mail.address_list",
    "smartrelay.submit.aliases",
)
"""What messages need, each after those that it imports; a test compares it with what enqueueing has loaded."""

LATE = "smartrelay.errors"
"""The one whose names are looked up when they are used. Its classes take a sixth of the time that making all modules takes,
and a plain message raises none."""

PUT_OFF = (LATE, "smartrelay.mail.address_list", "smartrelay.submit.aliases")
"""Those that are made when something of them is asked for; the last two by mail to local names, such as cron's to root."""


@dataclass(frozen=True)
class Bundle:
    """The bundle beside the stub."""

    site: Site

    def needed(self) -> bool:
        return _facts(files.read(self.site.places.real(self.site.places.bundle))) != [_source(name)[:5] for name in MODULES]

    def describe(self) -> str:
        return f"create program {self.site.places.bundle} (the modules of {self.site.places.stub} in one piece)"

    def apply(self) -> None:
        path = self.site.places.bundle
        content = build()
        self.site.record.add("file", path, sha256=files.checksum(content))
        files.write(self.site.places.real(path), content, 0o644)


def build() -> bytes:
    """The bundle's content: the interpreter's magic number, then the loader's code and the modules'."""
    numbers = _numbers(_source(LATE)[1])
    parts: list[tuple[object, ...]] = []
    for name in MODULES:
        facts = _source(name)
        code = _code(facts[1], _Late(numbers))
        parts.append((*facts, marshal.dumps(code) if name in PUT_OFF else code))
    loader = _code(f"{data.PACKAGE}/installation/loader.py")
    return importlib.util.MAGIC_NUMBER + marshal.dumps((loader, parts))


def _source(name: str) -> tuple[str, str, bool, int, int]:
    path = f"{os.path.dirname(data.PACKAGE)}/{name.replace('.', '/')}"
    package = os.path.isdir(path)
    source = f"{path}/__init__.py" if package else f"{path}.py"
    status = os.stat(source)
    return name, source, package, status.st_mtime_ns, status.st_size


def _tree(source: str) -> ast.Module:
    with open(source, encoding="utf-8") as file:
        return ast.parse(file.read(), source)


def _code(source: str, late: "_Late | None" = None) -> CodeType:
    """A module's code without docstrings, annotations and line tables, which nobody sees: half the octets to read."""
    tree = _Unannotated().visit(_tree(source))
    if late is not None:
        tree = ast.fix_missing_locations(late.visit(tree))
    return _bare(compile(tree, source, "exec", optimize=2, dont_inherit=True))


def _numbers(source: str) -> dict[str, int]:
    """The numbers that a module gives names to."""
    return {
        node.targets[0].id: node.value.value
        for node in _tree(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int)
    }


class _Unannotated(ast.NodeTransformer):
    """Takes annotations away: they are evaluated whenever their function is made."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        plain = ast.Assign([node.target], node.value) if node.value is not None else ast.Pass()
        return ast.fix_missing_locations(ast.copy_location(plain, node))


class _Late(ast.NodeTransformer):
    """Has what is imported from LATE looked up there whenever it is used; numbers take their names' places."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self._numbers = numbers
        self._names: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.module != LATE:
            return node
        self._names.update(alias.name for alias in node.names)
        package, _, last = LATE.rpartition(".")
        return ast.copy_location(ast.ImportFrom(package, [ast.alias(last, "_late")], 0), node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names:
            return node
        if node.id in self._numbers:
            return ast.copy_location(ast.Constant(self._numbers[node.id]), node)
        return ast.copy_location(ast.Attribute(ast.Name("_late", ast.Load()), node.id, node.ctx), node)


def _bare(code: CodeType) -> CodeType:
    constants = tuple(_bare(item) if isinstance(item, CodeType) else item for item in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=constants)


def _facts(content: bytes | None) -> list[tuple[object, ...]]:
    """What the modules of a bundle were made from; nothing for what is no bundle of this interpreter."""
    magic = importlib.util.MAGIC_NUMBER
    if content is None or not content.startswith(magic):
        return []
    try:
        _, parts = marshal.loads(content[len(magic) :])
        return [tuple(part[:5]) for part in parts]
    except (ValueError, EOFError, TypeError):
        return []
