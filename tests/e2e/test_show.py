"""`queue show` tells the story of a message: what came of it, why it waits, when it goes next and when it is given up."""

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.commands import DOMAIN, SMARTRELAY, Machine, relay
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
ME, YOU = f"me@{DOMAIN}", "you@b.example"
X = b"Subject: x\n\nbody\n"
DAY = 86400
REPLIES = {"RCPT TO:<you@": b"450 4.2.1 greylisted", "RCPT TO:<bad@": b"550 5.1.1 no such user"}
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def show(machine: Machine, one: str) -> str:
    result = machine.run("queue", "show", one)
    assert (result.code, result.errors) == (0, "")
    return result.output.decode()


def as_json(machine: Machine, one: str) -> dict[str, Any]:
    result = machine.run("queue", "show", "--json", one)
    assert (result.code, result.errors) == (0, "")
    found: dict[str, Any] = json.loads(result.output)
    return found


def test_the_story_of_a_message_that_waits(machine: Machine, smtp_server: Start) -> None:
    """2.1: arrival, attempts, verdicts, notices, what the operator did, next attempt, expiry."""
    server = smtp_server(replies=REPLIES)
    machine.relay_to(server, name='"work"')
    one = machine.enqueue(X, "-f", ME, YOU, "bad@b.example", "fine@b.example")
    machine.flush()
    for verb in ("hold", "release"):
        assert machine.run("queue", verb, one).code == 0
    machine.flush(one)
    text = show(machine, one)
    host = rf"host \S+\[127\.0\.0\.1\]:{server.port}"
    for line in (
        rf"^Recipient    <{YOU}>: deferred, {host} said: 450 4\.2\.1 greylisted$",
        rf"^Recipient    <bad@b\.example>: failed, {host} said: 550 5\.1\.1 no such user$",
        r"^Recipient    <fine@b\.example>: delivered, ",
        rf"^  {MOMENT}  arrived from uid {os.getuid()}$",
        rf"^  {MOMENT}  failed <bad@b\.example>: relay work, {host}, while sending RCPT TO: 550 5\.1\.1 no such user$",
        rf"^  {MOMENT}  called for: notice 1 to <{ME}>: a bounce about <bad@b\.example>$",
        rf"^  {MOMENT}  notice 1 was queued as \w{{17}}$",
        rf"^  {MOMENT}  held by the operator$",
        rf"^  {MOMENT}  released by the operator$",
        rf"^Next attempt {MOMENT}, in \d+[sm]\.$",
        rf"^It expires about {MOMENT}, if it is not held or offline until then \(of its lifetime \d+s of 5d are over\)\.$",
    ):
        assert re.search(line, text, re.MULTILINE), f"{line}\n{text}"
    assert len(re.findall(rf"^  {MOMENT}  deferred <{YOU}>: relay work", text, re.MULTILINE)) == 2


def test_the_same_for_programs(machine: Machine, smtp_server: Start) -> None:
    """2.5: beside the members of the listing all recipients, with how often they were tried and warned."""
    machine.relay_to(smtp_server(replies=REPLIES), more='[queue]\nretry = ["1h"]\n')
    one = machine.enqueue(X, "-f", ME, YOU, "fine@b.example")
    machine.flush()
    found = as_json(machine, one)
    arrived = found["arrival_time"]
    assert isinstance(arrived, int)
    assert found["expires"] in (arrived + 5 * DAY, arrived + 5 * DAY + 1)
    assert isinstance(found["age"], int) and 0 <= found["age"] < 60
    waits, fine = found["recipients"]
    assert (waits["status"], waits["dsn"], waits["tries"], waits["warned"]) == ("deferred", "4.2.1", 1, 0)
    assert (fine["status"], fine["tries"], "delay_reason" in fine) == ("delivered", 0, False)
    (listed,) = (json.loads(line) for line in machine.run("queue", "list", "--json").output.splitlines())
    assert listed["expires"] == found["expires"]
    assert [each["address"] for each in listed["recipients"]] == [YOU]


def test_mail_of_a_relay_that_does_not_let_us_in_says_so(machine: Machine, smtp_server: Start) -> None:
    """Law 5: an account fault, from the incident that the pass noted; it is gone when the mail goes."""
    server = smtp_server(replies={"MAIL": b"530 5.7.0 sign in first"})
    machine.relay_to(server, name='"work"')
    one = machine.enqueue(X, "-f", ME, YOU)
    machine.flush()
    text = show(machine, one)
    why = r"530 5\.7\.0 sign in first \(there is no auth in its \[\[relay\]\]\)"
    sentence = rf"^Relay work cannot be used: {why}; its mail waits until this is put right \(since {MOMENT}\)\.$"
    assert re.search(sentence, text, re.MULTILINE), text
    assert "(our own trouble: the time before it is no age)" in text
    (reason,) = as_json(machine, one)["why"]
    assert reason.startswith("Relay work cannot be used")
    server.replies = {b"RCPT": b"450 4.2.1 later", b"RCPT TO:<FINE@": b"250 2.1.5 ok"}
    fine = machine.enqueue(X, "-f", ME, "fine@b.example")
    machine.flush("--all")
    assert fine not in machine.ids()
    assert "cannot be used" not in show(machine, one).partition("\n\n")[2].rpartition("\n\n")[2]


def test_no_configuration_is_an_incident_until_there_is_one(machine: Machine, smtp_server: Start) -> None:
    """A secret that is missing, or a wrong key: no pass can be made; the listing and the story do without."""
    server = smtp_server(replies=REPLIES)
    machine.configure(relay(f"smtp+tls://127.0.0.1:{server.port}", auth='{ user = "me", secret = "file:/nowhere" }'))
    one = machine.enqueue(X, "-f", ME, YOU)
    machine.flush(code=78)
    assert re.search(rf"^No pass can be made: .*/nowhere.* \(since {MOMENT}\)\.$", show(machine, one), re.MULTILINE)
    machine.configure("[queue]\nlifetime = 5\n")
    text = show(machine, one)
    assert "When it is given up is not known, for the configuration cannot be read." in text
    assert as_json(machine, one)["expires"] is None
    assert json.loads(machine.run("queue", "list", "--json").output)["expires"] is None
    machine.relay_to(server)
    machine.flush("--all")
    assert "No pass can be made" not in show(machine, one)
    assert "incidents.json" not in os.listdir(f"{machine.spool}/var")


def test_mail_for_a_bad_host_says_when_that_is_asked_again(machine: Machine) -> None:  # C-010
    machine.configure(relay("smtp+notls://127.0.0.1:1", name='"dead"'))
    one = machine.enqueue(X, "-f", ME, YOU)
    machine.flush()
    assert re.search(
        rf"^Way          dead: 127\.0\.0\.1:1 \(bad: .*refused; next probe {MOMENT}\)$",
        show(machine, one),
        re.MULTILINE,
    )


def test_mail_that_a_rate_holds_back_says_so(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(smtp_server(), name='"work"', rate='"1/h"')
    ids = [machine.enqueue(X, "-f", ME, YOU) for _ in range(2)]
    machine.flush()
    assert machine.ids() == ids[1:]
    text = show(machine, ids[1])
    assert "The rate of relay work was used up.\nNext attempt " in text
    assert "put off: the rate of relay work was used up; its turn comes " in text


def test_what_is_held_does_not_expire(machine: Machine) -> None:
    one = machine.enqueue(X, "-f", ME, YOU)
    assert machine.run("queue", "hold", one).code == 0
    text = show(machine, one)
    assert text.endswith(
        "It is held and goes nowhere until it is released; until then it does not age.\nOf its lifetime 0s of 5d are over.\n"
    )
    found = as_json(machine, one)
    assert (found["expires"], found["next_attempt"]) == (None, None)


def test_mail_whose_lifetime_is_over_has_one_attempt_left(machine: Machine, smtp_server: Start) -> None:
    """Law 11: it is given up with a fresh failure, not before."""  # C-005
    machine.relay_to(smtp_server(replies=REPLIES), more='[queue]\nlifetime = "1s"\nretry = ["1h"]\n')
    one = machine.enqueue(X, "-f", ME, YOU)
    envelope = machine.path(one)
    with open(envelope, "r+b") as file:
        content = file.read()
        early = re.sub(rb'"arrived":(\d+)', lambda found: b'"arrived":%d' % (int(found[1]) - 60), content, count=1)
        file.seek(0)
        file.write(early)
    assert "Its lifetime is over (1m of 1s): it is given up with its next attempt, unless that delivers it." in show(
        machine, one
    )
    found = as_json(machine, one)["expires"]
    assert isinstance(found, int) and abs(found - time.time()) < 60
    assert "status=expired" in "".join(machine.flush().log)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_on_a_terminal_it_stays_within_its_columns(machine: Machine, smtp_server: Start, columns: int) -> None:
    text = b"450 4.2.1 " + b"please come back later " * 10
    machine.relay_to(smtp_server(replies={"RCPT": text.rstrip()}), name='"work"')
    one = machine.enqueue(X, "-f", ME, YOU)
    machine.flush()
    controller, terminal = pty.openpty()
    environment = {**machine.environment, "COLUMNS": str(columns)}
    with subprocess.Popen([SMARTRELAY, "queue", "show", one], stdout=terminal, env=environment) as process:
        os.close(terminal)
        shown = b""
        try:
            while block := os.read(controller, 1 << 16):
                shown += block
        except OSError:
            pass  # the other end is closed
        assert process.wait() == 0
    os.close(controller)
    lines = shown.decode().splitlines()
    assert all(len(line) <= columns for line in lines if "File " not in line and machine.spool not in line)
    assert "please come back later" in " ".join(" ".join(lines).split())
