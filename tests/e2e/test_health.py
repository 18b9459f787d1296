"""`smartrelay health`: what each pass has told, to anybody, in the four states of the monitoring world."""

import json
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.e2e.commands import SMARTRELAY, Machine, Result, relay
from tests.e2e.told import ME, REFUSING, YOU, Told, X
from tests.support.process import NOBODY
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]


@pytest.fixture
def machine(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_before_the_first_pass_nothing_is_known(machine: Told) -> None:
    text = machine.health(3)
    assert text.startswith(f"SMARTRELAY UNKNOWN - there is no status file {machine.status_file}: no pass has run yet")
    assert text.count("\n") == 1


def test_a_pass_that_relays_and_one_that_has_nothing_to_do(machine: Told, smtp_server: Start) -> None:
    machine.relay_to(smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no", "RCPT TO:<later@": b"450 4.2.1 later"}))
    machine.enqueue(X, *ME, YOU, "bad@b.example", "later@b.example")
    before = time.time()
    machine.flush()
    status = machine.status()
    assert before <= status["last_success"] <= time.time()
    # the bounce has gone out in the same pass, to the sender
    assert status["totals"] == {"delivered": 2, "deferred": 1, "bounced": 1, "expired": 0}
    assert (status["pass"]["result"], status["work"]["notices"]) == ("done", 1)
    assert status["messages"]["deferred"]["count"] == 1
    text = machine.health(0)
    assert re.match(
        r"SMARTRELAY OK - 1 message waiting, the oldest for \ds, last delivery \ds ago"
        r" \| queue=1;100;1000;0 oldest=\ds;14400;86400;0 ",
        text,
    )
    assert "delivered_total=2c deferred_total=1c bounced_total=1c expired_total=0c" in text
    assert "example" not in Path(machine.status_file).read_text()
    spool = machine.tree()
    machine.flush()
    later = machine.status()
    assert later["pass"]["result"] == "idle" and later["time"] > status["time"]
    assert (later["work"], later["totals"], later["last_success"]) == (status["work"], status["totals"], status["last_success"])
    assert machine.tree() == spool, "an idle pass leaves the spool as it is"


@pytest.mark.parametrize("arguments", [(), ("-v",), ("--json",), ("--wait", "1s")])
def test_an_idle_pass_of_any_call_tells(machine: Told, arguments: tuple[str, ...]) -> None:
    machine.configure(relay(REFUSING))
    for _ in range(2):
        machine.flush(*arguments)
        assert machine.status()["pass"]["result"] == "idle"
        os.unlink(machine.status_file)


def test_the_file_is_for_everybody_and_its_directory_too(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    before = os.umask(0o077)
    try:
        machine.flush()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(machine.status_file).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(os.path.dirname(machine.status_file)).st_mode) == 0o755
    assert os.listdir(os.path.dirname(machine.status_file)) == ["status.json"]


def test_a_pass_goes_on_where_the_file_cannot_be_written(machine: Told, smtp_server: Start) -> None:
    """Nor does it say a word of a directory that is not there: the machine may have no use for it."""
    server = smtp_server()
    for path, words in (("/nonexistent/run/status.json", 0), (f"{machine.folder}/a-directory", 1)):
        os.makedirs(f"{machine.folder}/a-directory", exist_ok=True)
        Machine.configure(machine, relay(f"smtp+notls://127.0.0.1:{server.port}"), top=f'status_file = "{path}"')
        machine.enqueue(X, *ME, YOU)
        assert machine.flush().errors.count("cannot write the status file") == words
        assert machine.flush().errors == "", "an idle pass never says so: it would each minute"
    assert len(server.accepted) == 2


def test_old_mail_is_a_warning_and_then_critical(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    machine.old(5 * 3600)
    machine.flush()
    assert machine.health(1).startswith("SMARTRELAY WARNING - the oldest message waits for 5h (1 message waiting")
    assert machine.health(2, "--crit-age", "5h").startswith("SMARTRELAY CRITICAL - ")
    assert machine.health(0, "--warn-age", "6h")
    assert machine.health(2, "--crit-queue", "1", "--warn-queue", "1")
    assert "queue=1;7;9;0 " in machine.health(1, "--warn-queue", "7", "--crit-queue", "9")


def test_held_mail_is_not_late_and_corrupt_mail_is_a_warning(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    machine.old(90 * 86400, "hold")
    machine.flush()
    assert "0 messages waiting, 1 held" in machine.health(0)
    with open(f"{machine.spool}/new/nonsense", "wb"):
        pass
    machine.flush()
    assert machine.health(1).startswith("SMARTRELAY WARNING - 1 message could not be read")


def test_a_relay_that_does_not_let_us_in_is_critical_until_it_does(machine: Told, smtp_server: Start) -> None:
    server = smtp_server(replies={"MAIL FROM:<me@": b"530 5.7.0 sign in first"})
    machine.configure(relay(f"smtp+notls://127.0.0.1:{server.port}", name='"work"'))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - relay work does not let us in, so mail waits (1 message waiting")
    machine.flush()  # an idle one
    assert machine.status()["incidents"]["account"]["relays"] == ["work"]
    machine.enqueue(X, "-f", "other@a.example", YOU)
    machine.flush()
    assert machine.health(0)


def test_mail_in_doubt_for_the_third_time_is_a_warning_until_it_is_gone(machine: Told, smtp_server: Start) -> None:
    """Law 10; the operator deletes it, and the next pass is an idle one."""
    server = smtp_server(on=lambda point, argument, session: _lost(point))
    machine.relay_to(server)
    one = machine.enqueue(X, *ME, YOU)
    for _ in range(3):
        machine.flush("--all")
    assert machine.health(1).startswith("SMARTRELAY WARNING - 1 message in doubt")
    assert machine.run("queue", "delete", "--yes", one).code == 0
    machine.flush()
    assert machine.health(0)


def _lost(point: str) -> Any:
    from tests.support.smtp_server import Action

    return Action.CLOSE if point == "DOT" else None


def test_without_a_relay_it_is_critical(machine: Told) -> None:
    """2.3: mail is queued and kept, and health says so; with mail and without."""
    machine.flush()
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - no relay is configured, so all mail is kept")
    machine.enqueue(X, *ME, YOU)
    machine.flush(code=78)
    assert machine.status()["messages"]["due"]["count"] == 1
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - no relay is configured, so all mail is kept (1 message waiting")


@pytest.mark.parametrize("table", ['[queue]\nlifetim = "5d"', "[queue\n", '[[relay]]\nhosts = ["gopher://x"]'])
def test_a_configuration_that_cannot_be_used_is_critical_until_it_can(machine: Told, table: str) -> None:
    machine.configure(relay(REFUSING))
    machine.enqueue(X, *ME, YOU)
    machine.configure(table)
    machine.flush(code=78)
    assert machine.status()["pass"]["result"] == "misconfigured"
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - the configuration cannot be used as it is")
    machine.configure(relay(REFUSING))
    machine.flush()
    assert machine.health(0)


def test_a_broken_configuration_is_told_by_a_pass_with_nothing_to_do(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    machine.configure("[queue\n")
    machine.flush(code=78)
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - the configuration cannot be used as it is")


def test_a_full_spool_is_critical(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    with open(machine.config, encoding="utf-8") as file:
        text = file.read().replace("min_free_space = 0", 'min_free_space = "1000T"')
    with open(machine.config, "w", encoding="utf-8") as file:
        file.write(text)
    machine.flush()
    assert machine.health(2).startswith("SMARTRELAY CRITICAL - the spool is full, no mail is accepted: ")


def test_a_status_that_is_too_old_is_unknown(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    with open(machine.status_file, encoding="ascii") as file:
        text = file.read()
    stale = re.sub(r'"time": [0-9.]+', f'"time": {time.time() - 700:.3f}', text)
    with open(machine.status_file, "w", encoding="ascii") as file:
        file.write(stale)
    assert machine.health(3).startswith("SMARTRELAY UNKNOWN - the last pass was 11m ago; is the timer on? (--max-age is 10m)")
    assert machine.health(0, "--max-age", "1h")


@pytest.mark.parametrize("content", [b"", b"\0" * 9999, b"{}", b"[" * 60_000, b"\xff\x1b[2J"])
def test_nonsense_is_unknown(machine: Told, content: bytes) -> None:
    os.mkdir(os.path.dirname(machine.status_file))
    with open(machine.status_file, "wb") as file:
        file.write(content)
    text = machine.health(3)
    assert text.startswith(f"SMARTRELAY UNKNOWN - the status file {machine.status_file} cannot be used: it ")
    assert text.count("\n") == 1 and text[:-1].isprintable()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)], ids=["fifo", "dir", "link"])
def test_what_is_no_file_is_unknown_at_once(machine: Told, make: Callable[[str], None]) -> None:
    os.mkdir(os.path.dirname(machine.status_file))
    make(machine.status_file)
    assert machine.health(3).startswith("SMARTRELAY UNKNOWN - ")


@pytest.mark.parametrize(
    "arguments", [("--warn-age", "soon"), ("--warn-queue", "0"), ("--frobnicate",), ("x",), ("--max-age",)]
)
def test_a_wrong_call_is_unknown(machine: Told, arguments: tuple[str, ...]) -> None:
    """As a monitoring plugin has it, in a line on standard output."""
    text = machine.health(3, *arguments)
    assert text.startswith("SMARTRELAY UNKNOWN - ") and text.count("\n") == 1


def test_where_no_status_file_is_configured_it_is_said(machine: Told) -> None:
    """A spool that somebody names has none of its own: it would overwrite that of the system."""
    Machine.configure(machine, relay(REFUSING))
    machine.flush()
    text = machine.health(3)
    assert "no status file is configured for this spool; set status_file in" in text


@pytest.mark.as_another_user
def test_a_users_own_is_in_their_runtime_directory(machine: Told) -> None:
    """2.3: nothing is named, and each user has one of their own."""
    folder = tempfile.mkdtemp(prefix="smartrelay-user-")
    try:
        for name in ("config/smartrelay", "runtime"):
            os.makedirs(f"{folder}/{name}")
        with open(f"{folder}/config/smartrelay/smartrelay.toml", "w", encoding="utf-8") as file:
            file.write(f"min_free_space = 0\n{relay(REFUSING)}")
        for path, mode in (("", 0o777), ("runtime", 0o777), ("config", 0o755), ("config/smartrelay", 0o755)):
            os.chmod(f"{folder}/{path}", mode)
        env = {
            "SMARTRELAY_CONFIG": None,
            "SMARTRELAY_SPOOL": None,
            "XDG_CONFIG_HOME": f"{folder}/config",
            "XDG_STATE_HOME": f"{folder}/state",
            "XDG_RUNTIME_DIR": f"{folder}/runtime",
        }
        done = by(machine, NOBODY, "flush", env=env)
        assert done.code == 0, done
        assert os.path.exists(f"{folder}/runtime/smartrelay/status.json")
        assert by(machine, NOBODY, "health", env=env).code == 0
    finally:
        shutil.rmtree(folder)


def by(machine: Machine, uid: int, *arguments: str, env: dict[str, str | None] | None = None) -> Result:
    """A command run by another user."""
    who = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    with machine.start_program("setpriv", *who, SMARTRELAY, *arguments, env=env) as running:
        return running.wait()


@pytest.fixture
def shared() -> Iterator[Told]:
    """A machine that other users can reach, with a spool that is the owner's alone."""
    folder = tempfile.mkdtemp(prefix="smartrelay-health-")
    try:
        os.chmod(folder, 0o755)
        machine = Told(folder)
        os.mkdir(machine.spool, 0o700)
        os.chown(machine.spool, 65533, 65533)
        os.mkdir(f"{machine.folder}/run", 0o755)
        os.chown(f"{machine.folder}/run", 65533, 65533)
        os.chmod(machine.config, 0o644)
        yield machine
    finally:
        shutil.rmtree(folder)


@pytest.mark.as_another_user
@pytest.mark.parametrize("readable", [True, False], ids=["configuration for all", "configuration of root's"])
def test_nobody_may_ask(shared: Told, readable: bool) -> None:
    """Neither spool nor configuration is needed; root's passes tell with the rights of the spool's owner."""
    shared.configure(relay(REFUSING))
    os.chmod(shared.config, 0o644 if readable else 0o600)
    one = shared.enqueue(X, *ME, YOU)
    shared.flush()
    shared.flush()
    status = os.stat(shared.status_file)
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65533, 0o644)
    where = () if readable else ("--status-file", shared.status_file)
    for form in ((), ("--json",), ("--openmetrics",)):
        result = by(shared, NOBODY, "health", *where, *form)
        assert (result.code, result.errors) == (0, ""), result
        assert YOU not in result.output.decode() and one not in result.output.decode()
    assert by(shared, NOBODY, "queue", "list").code == 77


@pytest.mark.as_another_user
def test_root_writes_only_what_the_spools_owner_may(shared: Told) -> None:
    """Else the owner could have root overwrite anything: by the directory, or by a link in it. Idle passes and others."""
    shared.configure(relay(REFUSING))
    target = os.path.join(shared.folder, "of-root")
    with open(target, "w", encoding="ascii"):
        os.chmod(target, 0o600)
    for name in ("status.json.new", "status.json"):
        os.symlink(target, f"{shared.folder}/run/{name}")
    shared.flush()
    shared.enqueue(X, *ME, YOU)
    shared.flush()
    assert os.stat(target).st_size == 0
    os.chown(f"{shared.folder}/run", 0, 0)
    for name in os.listdir(f"{shared.folder}/run"):
        os.unlink(f"{shared.folder}/run/{name}")
    shared.flush()
    assert os.listdir(f"{shared.folder}/run") == []


def test_json_has_all_of_it(machine: Told) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    found = json.loads(machine.health(0, "--json"))
    status = machine.status()
    assert found == {"state": "OK", "exit_code": 0, "problems": [], "status": {**status, "pass": found["status"]["pass"]}}
    os.unlink(machine.status_file)
    found = json.loads(machine.health(3, "--json"))
    assert (found["state"], found["exit_code"], found["status"]) == ("UNKNOWN", 3, None) and len(found["problems"]) == 1


def test_the_metrics_are_read_by_prometheus(machine: Told, smtp_server: Start) -> None:
    machine.relay_to(smtp_server())
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    families = {family.name: family for family in text_string_to_metric_families(machine.health(0, "--openmetrics"))}
    assert families["smartrelay_delivered"].type == "counter"
    assert [sample.value for sample in families["smartrelay_delivered"].samples] == [1]
    assert families["smartrelay_oldest_message_age_seconds"].unit == "seconds"
    os.unlink(machine.status_file)
    (family,) = text_string_to_metric_families(machine.health(3, "--openmetrics"))
    assert [sample.value for sample in family.samples] == [3]


def test_the_help_has_an_example(machine: Told) -> None:
    text = machine.health(0, "--help")
    assert "Examples:\n    smartrelay health\n" in text and "Exits 0 for OK" in text


def test_a_pass_that_is_killed_leaves_a_status_that_can_be_read(machine: Told, smtp_server: Start) -> None:
    """What is told next counts on from what was told before."""
    server = smtp_server()
    machine.relay_to(server)
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    gate = server.gate("DATA")
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(signal.SIGKILL)
        gate.open()
        assert running.wait().code == -signal.SIGKILL
    assert machine.status()["totals"]["delivered"] == 1
    assert machine.health(0)
    machine.flush()
    assert machine.status()["totals"]["delivered"] == 2


def test_a_pass_that_a_signal_ends_tells_so(machine: Told, smtp_server: Start) -> None:
    server = smtp_server()
    machine.relay_to(server)
    gate = server.gate("DATA")
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(signal.SIGTERM)
        gate.open()
        assert running.wait().code == -signal.SIGTERM
    assert machine.status()["pass"]["result"] == "stopped"
    assert machine.health(0)


def test_a_loop_tells_with_each_pass(machine: Told, smtp_server: Start) -> None:
    machine.relay_to(smtp_server())
    with machine.start("flush", "--every", "1h") as running:
        machine.enqueue(X, *ME, YOU)
        running.wait_for_error("status=sent")
        running.wait_for_error("pass: 1 sent")
        running.signal(signal.SIGTERM)
        running.wait()
    assert machine.status()["totals"]["delivered"] == 1
