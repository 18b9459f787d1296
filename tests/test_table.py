"""The table of the queue: no line is wider than the terminal, and every column stands where its head does."""

import io
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.cli import table
from smartrelay.cli.cells import address, cut, filled, wide
from smartrelay.cli.expiry import Expiry
from smartrelay.cli.rows import Row
from smartrelay.mail.status import visible
from tests.support.queues import few, many
from tests.support.rows import NOW, row

WHY = "host mx1.example.org[2001:db8::25]:25 said: 451 4.7.1 <ada@example.org>: Recipient address rejected: Greylisted, wait"
SGR = re.compile(r"\x1b\[([0-9]*)m")
texts = st.text(st.characters(codec="utf-8"), max_size=90).map(visible)
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def cells(text: str) -> int:
    """How many cells a terminal gives to the text, by the properties that the Unicode standard has for that."""
    text = SGR.sub("", text)
    narrow = (0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return sum(narrow)


class Screen(io.StringIO):
    encoding = "utf-8"


def shown(monkeypatch: pytest.MonkeyPatch, width: int, *rows: Row, expiry: Expiry | None = None, **variables: str) -> list[str]:
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **variables, "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    out = Screen()
    table.write_table(iter(rows), expiry, NOW, out)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 119, 120, 160, 300])
def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = [
        row("cron@host.example", ("ada@example.org", WHY), ("b@example.org", "")),
        row("", ("averyveryverylonglocalpartindeed.withdots@subdomain.department.example.com", WHY), ours=True),
        row("björn@exämple.example", ("田中太郎田中太郎田中太郎@例え例え例え例え例え例え.テスト", "理由" * 60)),
        row("x" * 64 + "@" + "y" * 100, ("z" * 200, "w" * 500), state="held", old=1e9, octets=1 << 50),
        row(state="new", due=0),
    ]
    lines = shown(monkeypatch, width, *rows)
    if width >= 60:  # the id alone takes 17
        assert max(map(cells, lines)) <= width
    assert len(lines) >= len(rows) + 2


@pytest.mark.parametrize("width", [80, 160])
def test_columns_stand_below_their_heads_whatever_is_in_them(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = [
        row("田中@例え.テスト", ("a@b.example", "r")),
        row("s@x", ("田中太郎@例え.テスト", "")),
        row("s" * 60, ("x@y", "r")),
    ]
    head, *lines = shown(monkeypatch, width, *rows, NO_COLOR="1")
    at = head.index("To")
    found = [line for line in lines if line.startswith("25X0")]
    for line, to in zip(found, ("a@b.example", "田中太郎@例え.テスト", "x@y"), strict=True):
        assert cells(line[: line.index(to)]) == at
        assert cells(line[: line.index("in 5m")]) == head.index("State")


def test_a_narrow_terminal_has_the_reason_below_and_a_wide_one_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = shown(monkeypatch, 80, row("s@x", ("r@y", WHY)), NO_COLOR="1")
    assert narrow[0].split() == ["ID", "Age", "Size", "State", "From", "To"]
    assert narrow[1].split() == ["25X0LCH4YW6W9QYPF", "1m", "1000", "in", "5m", "s@x", "r@y"]
    assert " ".join(line.strip() for line in narrow[2:4]) == WHY
    beside = shown(monkeypatch, 220, row("s@x", ("r@y", WHY)), NO_COLOR="1")
    assert beside[0].endswith("Why it waits") and beside[1].endswith(WHY)
    assert beside[2:] == ["1 message, 1000: 1 waiting"]
    short = shown(monkeypatch, 80, row("s@x", ("r@y", "refused")), NO_COLOR="1")
    assert short[1].endswith("r@y  refused"), "what fits beside stands beside"


def test_the_state_says_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [row(state="new"), row(due=-1), row(due=30), row(due=7300), row(state="held")]
    lines = shown(monkeypatch, 160, *states, NO_COLOR="1")
    at = lines[0].index("State")
    assert [line[at : at + 7].strip() for line in lines[1:6]] == ["new", "due", "in 30s", "in 2h", "held"]
    assert lines[6] == "5 messages, 4.9K: 1 new, 3 waiting, 1 held"


def test_an_empty_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, 80) == ["The queue is empty."]


def colours(line: str) -> set[str]:
    return {code for code in SGR.findall(line) if code not in ("", "0")}


def test_colours_mean_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red is what somebody must do something about: our own trouble, and mail that is near its end."""
    expiry = Expiry(400_000.0, 1e9, NOW)
    rows = [row(state="new"), row(state="held"), row("s@x", ("r@y", "why")), row("s@x", ("r@y", "why"), ours=True)]
    rows += [row("s@x", ("r@y", "why"), old=age) for age in (99_000, 101_000, 301_000)]
    head, *lines = shown(monkeypatch, 160, *rows, expiry=expiry)
    assert colours(head) == {"1"}
    assert [colours(line) for line in lines[:-1]] == [{"32", "2"}, {"35", "2"}, set(), {"31"}, set(), {"33"}, {"31"}]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_escape_is_written_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    assert "\x1b" not in "".join(shown(monkeypatch, 80, row(state="held"), row("s@x", ("r@y", WHY)), expiry=None, **variables))


def test_the_first_rows_are_shown_before_the_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = Screen()
    seen_at = 0

    def many_rows() -> Iterator[Row]:
        nonlocal seen_at
        for number in range(5000):
            seen_at = seen_at or number * bool(out.getvalue())
            yield row()

    table.write_table(many_rows(), None, NOW, out)
    assert 0 < seen_at < 1000
    assert out.getvalue().splitlines()[-1] == "5,000 messages, 4.8M: 5,000 waiting"


def test_a_terminal_without_unicode_gets_dots_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(io.StringIO):
        encoding = "ascii"

    monkeypatch.setenv("COLUMNS", "120")
    out = Old()
    table.write_table([row("s@x", ("r@y", WHY * 2))], None, NOW, out)
    assert out.getvalue().isascii() and ".." in out.getvalue()


def test_to_show_any_character_loads_nothing_more() -> None:
    """By then root has become the spool's owner, who may not be able to read the interpreter's files."""
    code = (
        "import sys\nfrom smartrelay.cli import table, layouts\nbefore = set(sys.modules)\n"
        "table.cut('\u7530' * 99, 10, '..')\nprint(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@many
@given(texts, st.integers(1, 60))
def test_what_is_cut_fits_and_is_whole_where_it_can_be(text: str, width: int) -> None:
    found = cut(text, width, "…")
    assert wide(found) <= width
    assert (found == text) == (wide(text) <= width)


@many
@given(plain, plain, st.integers(10, 60))
def test_of_an_address_the_domain_is_kept_as_long_as_it_can_be(local: str, domain: str, width: int) -> None:
    text = f"{local.replace('@', '')}@{domain.replace('@', '')}"
    found = address(text, width, "…")
    assert wide(found) <= width
    if len(domain) + 6 <= width and local.replace("@", ""):
        assert found.endswith("@" + domain.replace("@", ""))


@few
@given(texts, st.integers(5, 60), st.integers(1, 3))
def test_lines_are_filled_and_no_more_than_asked_for(text: str, width: int, most: int) -> None:
    found = filled(text, width, most, "…")
    assert 1 <= len(found) <= most and all(wide(line) <= width for line in found)
    joined = "".join(found).replace(" ", "")
    assert text.replace(" ", "").startswith(joined.removesuffix("…")) or joined == text.replace(" ", "")
