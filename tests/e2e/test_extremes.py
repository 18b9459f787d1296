"""Input that nobody sends until somebody does: each stays bounded in time and memory, and costs no mail."""

import pytest

from tests.e2e.commands import SENDMAIL, SMARTRELAY, Machine

MEGABYTES = 8 << 20


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"From: a@b.example\n\n" + b"\r" * MEGABYTES, 0),
        (b"From: a@b.example\n\n" + b"\r" * MEGABYTES + b"\n", 0),
        (b"From " + b"x" * MEGABYTES, 65),
        (b"x" * MEGABYTES, 0),
        (b"a:" + b"x" * MEGABYTES, 65),
    ],
    ids=["carriage returns", "carriage returns and a line feed", "a From line", "a line", "a header field"],
)
def test_input_without_line_ends_is_streamed_or_refused(machine: Machine, text: bytes, code: int) -> None:
    """Law 8 and E-064: no input is held whole, and none is gone over again and again."""
    machine.flush()  # makes the spool
    assert machine.sendmail(text, "-i", "r@b.example").code == code
    assert len(machine.ids()) == (code == 0)


def test_a_message_without_line_ends_costs_no_memory(machine: Machine) -> None:
    machine.sendmail(b"", "r@b.example")  # makes the spool
    small = machine.peak(SENDMAIL, "-i", "r@b.example", text=b"From: a@b.example\n\nx\n")
    assert machine.peak(SENDMAIL, "-i", "r@b.example", text=b"From: a@b.example\n\n" + b"\r" * MEGABYTES) - small < 10 << 10


def test_thousands_of_recipients_behind_a_dead_relay_take_no_minutes(machine: Machine) -> None:
    """Law 7: the work for a message grows with its recipients, not with their square."""
    machine.configure('[[relay]]\nname = "dead"\nhosts = ["smtp+notls://127.0.0.1:1"]\n')
    one = machine.enqueue(b"Subject: x\n\nx\n", *(f"u{number}@b.example" for number in range(3000)))
    assert "3000 deferred" in machine.flush().errors
    assert machine.ids() == [one]


def test_a_quiet_pass_says_nothing_that_cron_would_mail(machine: Machine) -> None:
    """What a command prints under cron becomes mail: a pass that logged there would feed itself."""
    machine.configure('[[relay]]\nname = "dead"\nhosts = ["smtp+notls://127.0.0.1:1"]\n')
    machine.enqueue(b"Subject: x\n\nx\n", "r@b.example")
    with machine.start_program("/usr/bin/env", "-u", "JOURNAL_STREAM", SMARTRELAY, "flush", "-q") as running:
        result = running.wait()
    assert (result.code, result.output) == (0, b"")
    assert "status=" not in result.errors


@pytest.mark.parametrize("arguments", [("--every", "0s"), ("--every", "1m", "--dry-run"), ("--every", "1m", "--all")])
def test_a_loop_that_makes_no_sense_is_refused(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.run("flush", *arguments).code == 64
