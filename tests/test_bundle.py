"""The bundle of the enqueue path: the same program, sooner; never an older one."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smartrelay.installation import bundle, data, stub
from smartrelay.installation.program import Program

SHOW_MODULES = """\
import smartrelay.door as door
class Exit(BaseException): pass
def leave(code):
    names = sorted(name for name in sys.modules if name.partition(".")[0] == "smartrelay")
    posix.write(1, repr((code, names, [name for name in names if sys.modules[name].__spec__ is None])).encode())
    raise Exit
door.posix = type("posix", (), {**posix.__dict__, "_exit": staticmethod(leave)})
try: door.main()
except Exit: pass
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, in a place of its own, where a test may change it."""
    shutil.copytree(data.PACKAGE, tmp_path / "smartrelay", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder: Path, code: str) -> tuple[int, list[str], list[str]]:
    """Enqueues a message by the stub's text with `code` for its last two lines; exit code, modules, those from the bundle."""
    program = Program(sys.executable, str(folder), "", "")
    text = stub.forms(program, "", str(folder / "bundle"))[0].decode()
    script = folder / "sendmail"
    script.write_text(text[: text.index("from smartrelay.door")] + "import posix\n" + code)
    script.chmod(0o755)
    done = subprocess.run(
        [script, "-f", "a@example.org", "b@example.org"],
        input=b"From: a@example.org\nSubject: x\n\ntext\n",
        capture_output=True,
        check=False,
        env={"SMARTRELAY_SPOOL": str(folder / "spool"), "SMARTRELAY_HOSTNAME": "host.example.org"},
    )
    assert done.stderr == b""
    found: tuple[int, list[str], list[str]] = eval(done.stdout)
    return found


def build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PACKAGE", str(folder / "smartrelay"))
    (folder / "bundle").write_bytes(bundle.build())


def warm(folder: Path) -> None:
    """A spool that is there: making one loads a module more."""
    run(folder, SHOW_MODULES)


def test_the_bundle_holds_what_a_plain_message_loads_and_nothing_else(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(copy, monkeypatch)
    warm(copy)
    code, modules, bundled = run(copy, SHOW_MODULES)
    assert code == 0
    assert modules == sorted(bundle.MODULES)
    assert bundled == modules


def test_a_plain_message_makes_no_class_of_error(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # D-090
    """They would be a sixth of what is loaded."""
    build(copy, monkeypatch)
    warm(copy)
    shown = SHOW_MODULES.replace("repr((code, names,", 'repr((code, list(vars(sys.modules["smartrelay.errors"])),')
    code, names, bundled = run(copy, shown)
    assert code == 0
    assert "smartrelay.errors" in bundled
    assert "SmartRelayError" not in names


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        ((), 64, "no recipients"),
        (("-f", "a@example.org", "b@@example.org"), 65, "b@@example.org"),
        (("-f", "a@example.org", "-C", "/nonexistent", "b@example.org"), 0, ""),
    ],
)
def test_an_error_is_the_same_from_the_bundle(
    copy: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    said = []
    for bundled in (False, True):
        if bundled:
            build(copy, monkeypatch)
        script = copy / "sendmail"
        script.write_bytes(stub.forms(Program(sys.executable, str(copy), "", ""), "", str(copy / "bundle"))[0])
        script.chmod(0o755)
        done = subprocess.run(
            [script, *arguments],
            input=b"text\n",
            capture_output=True,
            check=False,
            env={"SMARTRELAY_SPOOL": str(copy / "spool"), "SMARTRELAY_HOSTNAME": "host.example.org"},
        )
        assert done.returncode == code
        assert sentence.encode() in done.stderr
        said.append(done.stderr)
    assert said[0] == said[1]


def test_nothing_hides_an_error_s_name_in_the_bundle() -> None:
    """There a name that comes from `errors` means the error wherever it stands."""
    for name in bundle.MODULES:
        path = Path(data.PACKAGE).parent / name.replace(".", "/")
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        tree = ast.parse(source.read_text())
        froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == bundle.LATE]
        names = {alias.name for node in froms for alias in node.names}
        assert all(alias.asname is None for node in froms for alias in node.names)
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        assert not names & bound


@pytest.mark.parametrize("name", ["mail/header.py", "__init__.py"])
def test_a_changed_source_makes_the_bundle_stale(copy: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After an upgrade no message goes through the old program."""
    build(copy, monkeypatch)
    source = copy / "smartrelay" / name
    os.utime(source, ns=(1, source.stat().st_mtime_ns + 1))
    code, _, bundled = run(copy, SHOW_MODULES)
    assert code == 0
    assert bundled == []


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\xcb\r\r\n", b"\0" * 4096])
def test_a_bundle_that_is_missing_or_damaged_costs_time_only(
    copy: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    build(copy, monkeypatch)
    if content is None:
        (copy / "bundle").unlink()
    else:
        (copy / "bundle").write_bytes(content)
    code, _, bundled = run(copy, SHOW_MODULES)
    assert code == 0
    assert bundled == []
