"""The queue as text for programs, to the column."""

import io
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout

import pytest

from smartrelay.cli.layouts import write_postfix, write_sendmail, write_tabs
from smartrelay.cli.rows import Row
from tests.support.rows import NOW, ONE, row


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def written(write: Callable[[Iterable[Row]], None], *rows: Row) -> list[str]:
    out = io.StringIO()
    with redirect_stdout(out):
        write(iter(rows))
    return out.getvalue().split("\n")


def test_postfixs_layout_to_the_column() -> None:  # D-014
    """Its showq.c, for long ids: %-17s %8ld %19.19s %s, a reason that ends in column 76, recipients behind 47 blanks."""
    rows = [
        row("s@a.example", ("r1@b.example", "host b said: 450 later"), ("r2@b.example", "host b said: 450 later"), octets=7890),
        row("", ("r@c.example", "x" * 90), ("q@c.example", ""), state="held", octets=123456789),
        row("s@a.example", ("r@d.example", "")),
    ]
    assert written(write_postfix, *rows) == [
        "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------",
        f"{ONE}     7890 Fri Jan 15 07:59:00 s@a.example",
        f"{'(host b said: 450 later)':>76}",
        f"{'':47}r1@b.example",
        f"{'':47}r2@b.example",
        "",
        f"{ONE}! 123456789 Fri Jan 15 07:59:00 MAILER-DAEMON",
        f"({'x' * 90})",
        f"{'':47}r@c.example",
        f"{'(reason unavailable)':>76}",
        f"{'':47}q@c.example",
        "",
        f"{ONE}     1000 Fri Jan 15 07:59:00 s@a.example",
        f"{'':47}r@d.example",
        "",
        "-- 120571 Kbytes in 3 Requests.",
        "",
    ]


def test_postfix_marks_what_is_delivered_right_now() -> None:
    """showq(8): "*" behind the id."""
    text = written(lambda found: write_postfix(found, {ONE}), row("s@a.example", ("r@d.example", "")))
    assert text[1] == f"{ONE}*     1000 Fri Jan 15 07:59:00 s@a.example"


def test_an_empty_queue_and_one_of_one_in_postfixs_words() -> None:
    assert written(write_postfix) == ["Mail queue is empty", ""]
    assert written(write_postfix, row())[-2] == "-- 0 Kbytes in 1 Request."


def test_sendmails_layout() -> None:
    rows = [row("s@a.example", ("r@b.example", ""), ("q@b.example", "later")), row("", ("r@c.example", ""))]
    assert written(lambda found: write_sendmail(found, "/var/spool/smartrelay"), *rows) == [
        "\t\t/var/spool/smartrelay (2 requests)",
        "-------Q-ID------- --Size-- -----Q-Time----- ------------Sender/Recipient-----------",
        f"{ONE}      1000 Fri Jan 15 07:59 <s@a.example>",
        f"{'':17}(Deferred: later)",
        "\t\t\t\t\t <r@b.example>",
        "\t\t\t\t\t <q@b.example>",
        f"{ONE}      1000 Fri Jan 15 07:59 <>",
        "\t\t\t\t\t <r@c.example>",
        "\t\tTotal requests: 2",
        "",
    ]
    assert written(lambda found: write_sendmail(found, "/s")) == ["/s is empty", "\t\tTotal requests: 0", ""]


def test_tabs_have_a_line_a_message_and_as_many_columns_in_each() -> None:
    rows = [row("", ("a@b", "why"), ("c@d", "")), row("s@x", state="held"), row("s@x", state="new")]
    assert written(write_tabs, *rows) == [
        f"{ONE}\twaiting\t{NOW - 60:.0f}\t1000\t{NOW + 300:.0f}\t<>\ta@b,c@d\twhy",
        f"{ONE}\theld\t{NOW - 60:.0f}\t1000\t-\ts@x\tr@example.net\t-",
        f"{ONE}\tnew\t{NOW - 60:.0f}\t1000\t-\ts@x\tr@example.net\t-",
        "",
    ]
