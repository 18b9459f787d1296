"""The full name in a From that submission writes: whose name the system has for the caller."""

import pwd

import pytest

from smartrelay.submit.enqueue import _full_name


@pytest.mark.parametrize(
    ("gecos", "expected"),
    [  # D-080
        ("Joe Doe", "Joe Doe"),
        ("Joe Doe,Room 1,555", "Joe Doe"),
        ("& Doe,,,", "Joe Doe"),
        ("Prof. &", "Prof. Joe"),
        ("", ""),
        (",,,", ""),
    ],
)
def test_it_ends_at_a_comma_and_an_ampersand_is_the_login(monkeypatch: pytest.MonkeyPatch, gecos: str, expected: str) -> None:
    entry = pwd.struct_passwd(("joe", "x", 7, 7, gecos, "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    assert _full_name(7) == expected
