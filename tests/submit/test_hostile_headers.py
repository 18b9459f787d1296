"""What a header costs whoever takes it: no more than its length, however it is written. All users share one process."""

import os
import time
from collections.abc import Callable

import pytest

from smartrelay.errors import AddressError, TooLarge
from smartrelay.mail import header
from smartrelay.mail.address_list import Parser, changed
from smartrelay.submit.completion import completed
from smartrelay.submit.submission import Submission
from tests.submit.test_server import settings
from tests.support.queues import files, new_spool

SIZE = 200_000
MOST = 5.0
"""Seconds of processor time; what these headers took while the time grew with the square of the length was from 10 s up to an
hour."""


def cost(act: Callable[[], object]) -> float:
    begin = time.thread_time()
    act()
    return time.thread_time() - begin


HEADERS = {
    "folds": b"To: you@b.example\n" + b" \n" * (SIZE // 2),
    "fields": b"To:a\n" * (SIZE // 5),
    "addresses": b"To: " + b"a," * (SIZE // 2) + b"a\n",
    "commas of a route": b"To: @" + b"," * SIZE + b"\n",
    "commas of a route in brackets": b"From: <@" + b"," * SIZE + b"\n",
    "a route behind blanks": b"To: " + b" " * (SIZE // 2) + b"@" + b"," * (SIZE // 2) + b"\n",
    "hosts of a route": b"To: <" + b"@a," * (SIZE // 3) + b"@b:you@b.example>\n",
    "comments": b"To: " + b"()" * (SIZE // 2) + b"\n",
    "nested comments": b"To: " + b"(" * (SIZE // 2) + b")" * (SIZE // 2) + b"\n",
    "quotes": b"To: " + b'"" ' * (SIZE // 3) + b"\n",
    "quoted pairs": b'To: "' + b"\\a" * (SIZE // 2) + b'"\n',
    "groups": b"To: " + b"a:b;" * (SIZE // 4) + b"\n",
    "blanks around dots": b"To: a" + b" . a" * (SIZE // 4) + b"@b\n",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_completing_a_header_costs_what_its_length_costs(text: bytes) -> None:  # F-053
    def complete() -> None:
        completed(header.fields(text), "date", "<a@b>", "example.org", lambda: "me@a.example")

    assert cost(complete) < MOST


def test_a_header_that_is_too_long_once_it_is_complete_is_refused(tmp_path: os.PathLike[str]) -> None:  # E-040
    """Passes look for the author in a header of that length, and in no longer one: nobody may escape the From policy."""
    spool = new_spool(os.fspath(tmp_path))
    one = Submission(settings(spool, domain=f"{'d' * 60}.example"), 1, "by x")
    one.add(["you@b.example"])
    one.write(b"To: " + b"a," * 20_000 + b"\nFrom: boss@b.example\n")
    with pytest.raises(TooLarge, match="the header of the message is longer than 1 MiB"):
        one.write(b"\nhello\n")
    one.discard()
    assert files(spool) == {}


@pytest.mark.parametrize("piece", [b"From \n", b">From x y\n", b"From "])
def test_mbox_lines_that_never_end_cost_no_more_the_more_there_are(tmp_path: os.PathLike[str], piece: bytes) -> None:  # D-068
    one = Submission(settings(new_spool(os.fspath(tmp_path))), 1, "by x")

    def send() -> None:
        for _ in range(20_000):
            one.write(piece)

    assert cost(send) < MOST


@pytest.mark.parametrize("cut", range(1, 30))
def test_mbox_lines_are_known_however_they_are_cut(tmp_path: os.PathLike[str], cut: int) -> None:  # D-068
    spool = new_spool(os.fspath(tmp_path))
    one = Submission(settings(spool), 1, "by x")
    one.sender = "me@a.example"
    one.add(["you@b.example"])
    text = b"From a b\n>From c\nFrom d\nSubject: x\n\nhello\n"
    for at in range(0, len(text), cut):
        one.write(text[at : at + cut])
    with open(f"{spool}/new/{one.commit()}", "rb") as file:
        stored = file.read()
    assert b"From c" not in stored and b"From d" not in stored
    assert b"\nSubject: x\n" in stored and stored.endswith(b"\n\nhello\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<@a,@b:you@c.example>, x@y.example", ["you@c.example", "x@y.example"]),
        (" \t<  @a , @b : you@c.example >", ["you@c.example"]),
        ("(c) @a,@b:you@c.example", ["you@c.example"]),
        ('"@a", x@y.example', ['"@a"', "x@y.example"]),
    ],
)
def test_a_route_is_known_by_its_first_sign(text: str, found: list[str]) -> None:  # D-077
    assert Parser(text).mailboxes() == found
    assert changed(f"To: {text}".encode(), lambda address: address) == f"To: {text}".encode()


def test_a_route_without_an_address_is_none() -> None:
    for text in ("@", "@a,@b", "<@a,>"):
        with pytest.raises(AddressError):
            Parser(f"{text}, x").mailboxes()
