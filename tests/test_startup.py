"""What is loaded when a program starts: enqueueing and an idle pass must not pay for what they do not use.

Asked of a new process by `-X importtime`, which tells of every module, whatever the program does with sys.modules.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import smartrelay
from smartrelay.spool import status_file, totals
from smartrelay.spool.queue import Queue
from tests.support.queues import files, new_spool, put

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEAVY = frozenset(
    [
        "click",
        "rich",
        "dns",
        "ssl",
        "smtplib",
        "filelock",
        "email",
        "logging",
        "asyncio",
        "json",
        "re",
        "tomllib",
        "dataclasses",
        "typing",
        "enum",
        "pathlib",
        "tempfile",
        "socket",
    ]
)
SERVER = frozenset(f"smartrelay.submit.{name}" for name in ("pipe", "session", "protocol", "command", "inflow", "intake"))
CONFIGURATION = """# all that enqueueing needs stands above the first table
hostname   = "host.example.org"   # the name
spool      = "{spool}"
status_file = "{spool}.status.json"
domain     = 'example.org'
max_message_size = "50M"
max_recipients   = 10000
min_free_space   = "0"

[[relay]]
name  = "work"
hosts = ["smtp+notls://127.0.0.1:1"]

[queue]
retry = ["1m", "5m"]
"""


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


@pytest.fixture
def configuration(tmp_path: Path, spool: str) -> str:
    path = tmp_path / "smartrelay.toml"
    path.write_text(CONFIGURATION.format(spool=spool))
    return str(path)


def loaded(code: str, *arguments: str, flags: tuple[str, ...] = ("-I",), given: bytes = b"", silent: bool = True) -> set[str]:
    """The modules that this program loads; it must succeed and (if `silent`) say nothing else."""
    command = [
        sys.executable,
        *flags,
        "-X",
        "importtime",
        "-c",
        f"import sys\nsys.path.insert(0, {ROOT!r})\n{code}",
        *arguments,
    ]
    done = subprocess.run(command, input=given, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"})
    lines = done.stderr.decode().splitlines()
    found = [re.fullmatch(r"import time:\s+[\d\[].*\|\s+(\S+)", line) for line in lines]
    rest = [line for line, match in zip(lines, found, strict=True) if not match and "imported package" not in line]
    assert done.returncode == 0 and not (silent and rest), rest
    return {match[1] for match in found if match}


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_program_that_looks_sees_what_is_loaded() -> None:
    assert "json" in tops(loaded("import json", flags=("-IS",)))
    assert not tops(loaded("pass", flags=("-IS",))) & HEAVY


@pytest.mark.parametrize(
    "message",
    [
        b"From: a@example.org\nSubject: x\n\nbody\n",
        b"hello\n",
        b"Subject: x\r\n\r\n.dots\r\n" + b"y" * 200_000,
    ],
)
@pytest.mark.parametrize("arguments", [("-i", "-f", "s@a.example", "r@b.example"), ("-oi", "-odi", "-FCron Daemon", "root")])
def test_enqueueing_loads_nothing_heavy(
    configuration: str, spool: str, message: bytes, arguments: tuple[str, ...]
) -> None:  # D-090
    modules = loaded(
        "from smartrelay.door import main\nmain()", "--config", configuration, *arguments, flags=("-IS",), given=message
    )
    assert not tops(modules) & HEAVY
    assert not modules & SERVER
    assert len(files(spool)["new"]) == 1


def test_a_session_on_a_pipe_loads_nothing_heavy(configuration: str, spool: str) -> None:
    talk = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
    modules = loaded("from smartrelay.door import main\nmain()", "--config", configuration, "-bs", flags=("-IS",), given=talk)
    assert not tops(modules) & HEAVY
    assert len(files(spool)["new"]) == 1


def test_the_process_behind_the_sockets_loads_nothing_heavy() -> None:
    """The first caller waits for it to start."""
    found = loaded("import smartrelay.submit.activated", flags=("-I", "-S"))
    assert "smartrelay.submit.server" in found
    assert tops(found) & (HEAVY | {"threading", "os", "contextlib"}) == set()


def test_enqueueing_with_t_loads_nothing_heavy(configuration: str, spool: str) -> None:
    message = b'To: a@x.example, b@x.example\nCc: "Doe, J" <c@x.example>, g: d@x.example;\nBcc: e@x.example\n\nbody\n'
    modules = loaded(
        "from smartrelay.door import main\nmain()", "--config", configuration, "-ti", flags=("-IS",), given=message
    )
    assert not tops(modules) & HEAVY
    (one,) = files(spool)["new"]
    assert [recipient.address[0] for recipient in Queue(spool).get_envelope(one).recipients] == list("abcde")


def flush(configuration: str, *, silent: bool = True) -> set[str]:
    return loaded("from smartrelay.__main__ import main\nmain()", "--config", configuration, "flush", silent=silent)


IDLE = frozenset(["dns", "smtplib", "ssl", "filelock", "rich", "http", "asyncio"])


def assert_light(modules: set[str]) -> None:
    assert not tops(modules) & IDLE
    assert "json" not in modules
    assert not {"email.parser", "smartrelay.relay.manager", "smartrelay.spool.queue"} & modules


def test_an_idle_pass_over_an_empty_queue_loads_nothing_heavy(configuration: str, spool: str) -> None:  # C-015
    """And tells everybody."""
    assert_light(flush(configuration))
    assert status_file.read(f"{spool}.status.json").result == totals.IDLE


def test_an_idle_pass_over_what_is_not_due_loads_nothing_heavy(configuration: str, spool: str) -> None:
    import time

    queue = Queue(spool)
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    queue.set_waiting(one, time.time() + 3600)
    assert_light(flush(configuration))
    assert len(files(spool)["cur"]) == 1


def test_a_pass_over_ordinary_mail_loads_no_more_than_it_uses(spool: str, configuration: str) -> None:
    """The lock's library is for who waits, the re-encoder for mail that needs it, and the classes of a pass are plain: together
    they would be a third of its start."""
    one = put(Queue(spool))
    done = flush(configuration, silent=False)
    assert not tops(done) & {"filelock", "dataclasses", "inspect", "logging", "click", "rich", "dns"}
    assert not done & {"smartrelay.smtp.recode", "smartrelay.smtp.stream"}
    assert "smartrelay.smtp.session" in done
    assert [name[: len(one)] for name in files(spool)["cur"]] == [one]


def test_importing_the_package_loads_nothing() -> None:
    plain = loaded("pass", flags=("-IS",))
    assert loaded("import smartrelay", flags=("-IS",)) - plain == {"smartrelay"}


@pytest.mark.parametrize(
    "name",
    [
        "Queue",
        "SMTPManagedRelayer",
        "ESMTPManagedRelayer",
        "ManagedRelayerMixin",
        "SMTPManagedRelayerFactory",
        "ESMTPManagedRelayerFactory",
        "SmartHostSMTPRelayingManager",
        "SmartHostESMTPRelayingManager",
        "RelayStateHelper",
    ],
)
def test_the_cast_is_to_be_had_from_the_package(name: str) -> None:
    """The names that the design is known by (its section 3); each is what really runs."""
    found = getattr(smartrelay, name)
    assert isinstance(found, type) and found.__name__ == name and found.__module__.startswith("smartrelay.")


def test_the_cast_builds_on_each_other() -> None:
    assert issubclass(smartrelay.SMTPManagedRelayer, smartrelay.ManagedRelayerMixin)  # type: ignore[arg-type]
    assert issubclass(smartrelay.ESMTPManagedRelayer, smartrelay.SMTPManagedRelayer)  # type: ignore[arg-type]


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="frobnicate"):
        smartrelay.frobnicate  # noqa: B018
