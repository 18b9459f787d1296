"""The man pages: well-formed, and complete where a person looks things up."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from smartrelay import config, errors
from smartrelay.cli.health import health
from smartrelay.cli.main import smartrelay
from smartrelay.cli.queue import queue
from smartrelay.mail.status import deferred
from smartrelay.relay.alert import Alerts
from smartrelay.spool import status_file
from smartrelay.spool.census import Census, Group
from smartrelay.spool.history import Notice, attempt, bounced, postponed
from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT, Incident
from smartrelay.spool.status_file import Incidents, Status
from smartrelay.spool.totals import DONE, RESULTS, Totals, Work

MAN = Path(__file__).parent.parent / "man"
PAGES = sorted(path.name for path in MAN.iterdir())


def text(page: str) -> str:
    done = subprocess.run(["mandoc", "-T", "ascii", MAN / page], capture_output=True, text=True, check=True)
    return re.sub(".\b", "", done.stdout)


def test_there_is_a_page_for_each_program_and_each_format() -> None:
    assert PAGES == ["smartrelay-sendmail.8", "smartrelay-spool.5", "smartrelay.1", "smartrelay.toml.5"]


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_has_nothing_to_say(page: str) -> None:
    """But for pages that this machine does not have."""
    done = subprocess.run(["mandoc", "-T", "lint", MAN / page], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "referenced manual not found" not in line] == []


def test_smartrelay_1_has_every_exit_code() -> None:
    """Section 2.2 of the contract; 69 and 71 are the sendmail command's alone."""
    codes = {value for name, value in vars(errors).items() if name.startswith("EX_")} - {errors.EX_OSERR, errors.EX_UNAVAILABLE}
    section = text("smartrelay.1").partition("EXIT STATUS")[2].partition("EXAMPLES")[0]
    assert {int(code) for code in re.findall(r"^ {5}(\d+) ", section, re.MULTILINE)} == codes


def test_smartrelay_1_has_every_command() -> None:
    """Each has a section of its own, and a line in the synopsis."""
    context = click.Context(smartrelay)
    names = []
    for name in smartrelay.list_commands(context):
        command = smartrelay.get_command(context, name)
        names += [f"{name} {verb}" for verb in command.commands] if isinstance(command, click.Group) else [name]
    page = text("smartrelay.1")
    assert [name for name in names if not re.search(rf"^ {{3}}{name}$", page, re.MULTILINE)] == []
    synopsis = page.partition("SYNOPSIS")[2].partition("DESCRIPTION")[0]
    assert [name for name in names if name.split()[-1] not in synopsis.split()] == []


@pytest.mark.parametrize("kind", ["Limits", "Timeouts", "Relay", "Auth", "AlertCommand"])
def test_smartrelay_toml_5_has_every_key(kind: str) -> None:
    page = text("smartrelay.toml.5")
    names = {field: key for key, field in config._FIELDS.items()}
    keys = {names.get(field, field) for field in getattr(config, kind)._fields} - {"where", "literal"}
    assert [key for key in sorted(keys) if not re.search(rf"^ +{key}\b", page, re.MULTILINE)] == []


@pytest.mark.parametrize("kind", ["_TOP", "_QUEUE", "_SUBMIT"])
def test_smartrelay_toml_5_has_every_key_that_stands_alone(kind: str) -> None:
    page = text("smartrelay.toml.5")
    assert [key for key in sorted(getattr(config, kind)) if not re.search(rf"^ +{key}\b", page, re.MULTILINE)] == []


def test_smartrelay_1_has_every_command_of_the_queue_with_its_options() -> None:
    page = text("smartrelay.1")
    commands = page.partition("COMMANDS")[2].partition("ENVIRONMENT")[0]
    synopsis = " ".join(page.partition("SYNOPSIS")[2].partition("DESCRIPTION")[0].split())
    usual = {"config", "spool", "verbose", "quiet", "state", "sender", "recipient", "older_than"}
    for name, command in queue.commands.items():
        assert re.search(rf"^ {{3}}queue {name}$", commands, re.MULTILINE), name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in usual:
                assert any(option in synopsis for option in parameter.opts), (name, parameter.opts)


def test_smartrelay_1_has_every_option_of_health() -> None:
    page = text("smartrelay.1")
    section = page.partition("\n   health\n")[2].partition("\n   setup\n")[0]
    synopsis = " ".join(page.partition("SYNOPSIS")[2].partition("DESCRIPTION")[0].split())
    own = [each for each in health.params if each.opts[0] not in ("--config", "--spool", "-v", "-q")]
    assert [each.opts[0] for each in own if each.opts[0] not in section or each.opts[0] not in synopsis] == []


def test_smartrelay_1_and_smartrelay_toml_5_have_all_that_is_told() -> None:
    """The members of the status file, the results of a pass, and the variables of the alert command."""
    status = Status("", 0.0, 0.0, "", Totals(work=Work(result=DONE)), Census(), Incidents(), 0, False, 0, 0)
    members = status_file.table(status)
    words = {*members, *RESULTS}
    for part in ("pass", "work", "messages", "incidents", "bad_hosts", "space"):
        words |= set(members[part])
    words |= set(members["messages"]["new"]) | set(members["incidents"]["account"])
    page = text("smartrelay-spool.5")
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", page)] == []
    variables: dict[str, str] = {}
    noted = [Incident(ACCOUNT, "work", 1.0, 1.0, 1, "x")]

    def run(command: object, told: Mapping[str, str], sentence: str) -> str:
        variables.update(told)
        return "fails"

    alerts = Alerts("/nonexistent", config.AlertCommand(("x",)), "h", clock=lambda: 1.0, warn=lambda text: None, run=run)
    alerts.tell(Group(), noted)
    page = text("smartrelay.toml.5")
    assert len(variables) > 5
    assert [name for name in variables if not re.search(rf"\b{name}\b", page)] == []


def test_smartrelay_spool_5_has_every_event_and_every_kind_of_incident() -> None:
    page = text("smartrelay-spool.5")
    notice = Notice(1, 1.0, [0], [0], [0], [0], [1], 1.0).call()
    waits = deferred("4.3.5", "x")
    words = {*attempt(1.0, "r", {0: waits}, hosts=["h"]), *notice, *bounced(1.0, 1), *postponed(1.0, "r", 1.0, [0])}
    words |= {
        *Incident._fields,
        "attempt",
        "bounced",
        "postponed",
        "hold",
        "release",
        "retry",
        ACCOUNT,
        CONFIGURATION,
        DOUBT,
        "notice",
    }
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", page)] == []
