"""Secrets by reference: read when needed, refused when others can read them, never repeated in a sentence."""

import os
from pathlib import Path

import pytest

from smartrelay.errors import EX_CONFIG, ConfigError
from smartrelay.secret import resolve

WHERE = "/etc/smartrelay.toml: [[relay]] work: auth.secret"


def secret(tmp_path: Path, content: bytes, mode: int = 0o600, name: str = "secret") -> str:
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def refused(reference: str, *, any_mode: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(reference, WHERE, any_mode=any_mode)
    assert caught.value.exit_code == EX_CONFIG
    sentence = str(caught.value)
    assert sentence.startswith(WHERE) and "hunter2" not in sentence and "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" two words \n", " two words "),
        ("pä$$wörd".encode(), "pä$$wörd"),
    ],
)
def test_a_secret_is_the_files_one_line(tmp_path: Path, content: bytes, found: str) -> None:
    assert resolve(f"file:{secret(tmp_path, content)}", WHERE) == found


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o666])
def test_a_file_that_others_can_touch_is_refused_unless_that_is_wanted(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path, b"hunter2", mode)
    sentence = refused(f"file:{path}")
    assert path in sentence and f"{mode:04o}" in sentence and "chmod 600" in sentence
    assert resolve(f"file:{path}", WHERE, any_mode=True) == "hunter2"


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"hunter2\nmore\n", b"hunter2\0", b"\xff\xfehunter2", b"\n\nhunter2"])
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(f"file:{secret(tmp_path, content)}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "absent" in refused(f"file:{tmp_path}/absent")
    os.mkdir(tmp_path / "folder", 0o700)
    assert "folder" in refused(f"file:{tmp_path}/folder")


@pytest.mark.parametrize("reference", ["", "hunter2", "hunter2:", "file:", "env:", "cmd:", "http://hunter2", "FILE:/x", ":x"])
def test_what_is_no_reference_is_refused_without_repeating_it(reference: str) -> None:
    """It may be the secret itself, written in the wrong place."""
    assert "file:/path" in refused(reference)


def test_a_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "hunter2")
    assert resolve("env:THE_SECRET", WHERE) == "hunter2"
    monkeypatch.setenv("THE_SECRET", "")
    assert "empty" in refused("env:THE_SECRET")
    monkeypatch.delenv("THE_SECRET")
    assert "$THE_SECRET" in refused("env:THE_SECRET")
    monkeypatch.setitem(os.environ, "THE_SECRET", "hunter2\udcff")  # octets that are no UTF-8
    refused("env:THE_SECRET")


def test_a_secret_from_a_command(tmp_path: Path) -> None:
    assert resolve("cmd:printf 'hunter2\\n'", WHERE) == "hunter2"
    assert resolve("cmd:cat >/dev/null; echo hunter2", WHERE) == "hunter2"  # it finds nothing on its standard input
    assert "exit code 3" in refused("cmd:echo hunter2; echo hunter2 >&2; exit 3")
    assert "empty" in refused("cmd:true hunter2")
    assert "more than one line" in refused("cmd:echo hunter2; echo 2")
    refused("cmd:printf '\\377'")


def test_a_secret_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "LoadCredential" in refused("credential:relay")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret(tmp_path, b"hunter2\n", 0o440, "relay")
    assert resolve("credential:relay", WHERE) == "hunter2"
    assert "absent" in refused("credential:absent")
    for name in ("../relay", ".", "..", "/etc/passwd"):
        assert "no name of a credential" in refused(f"credential:{name}")
