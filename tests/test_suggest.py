"""What a shell is offered for the next word: what there is, for who may see it, and never an error."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from smartrelay.cli import suggest
from smartrelay.cli.main import smartrelay
from smartrelay.mail.status import deferred
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.spool.history import attempt
from smartrelay.spool.journal import Journal
from smartrelay.spool.lock import hosts_lock
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def offered(spool: str, *words: str, begun: str = "") -> list[tuple[str, str | None]]:
    """The next words, with their descriptions, behind these."""
    complete = BashComplete(smartrelay, {}, "smartrelay", "_SMARTRELAY_COMPLETE")
    return [(item.value, item.help) for item in complete.get_completions(["--spool", spool, *words], begun)]


def plain(spool: str, *words: str, begun: str = "") -> list[str]:
    return [value for value, _ in offered(spool, *words, begun=begun)]


def three(spool: str) -> list[str]:
    """A message that is new, one that waits, one that is held."""
    queue = Queue(spool)
    ids = [put(queue, ["r@b.example", "q@c.example"], sender=sender) for sender in ("s@a.example", "", "t@a.example")]
    os.rename(f"{spool}/new/{ids[1]}", f"{spool}/cur/{ids[1]},n=1900000000")
    Journal(spool, ids[1]).append(attempt(5.0, "work", {0: deferred("4.4.1", "no")}), sync=False)
    os.rename(f"{spool}/new/{ids[2]}", f"{spool}/hold/{ids[2]}")
    return ids


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("queue show", (0, 1, 2)),
        ("queue delete", (0, 1, 2)),
        ("queue expire", (0, 1, 2)),
        ("queue retry", (0, 1)),
        ("queue hold", (0, 1)),
        ("queue release", (2,)),
        ("flush", (0, 1)),
    ],
)
def test_each_verb_is_offered_the_messages_that_it_is_for(spool: str, command: str, expected: Sequence[int]) -> None:
    ids = three(spool)
    words = command.split()
    assert plain(spool, *words) == [ids[index] for index in expected]
    assert plain(spool, *words, begun="25ZZ") == []
    assert plain(spool, *words, begun=ids[expected[0]].lower()) == [ids[expected[0]]]
    if command != "queue show":
        assert plain(spool, *words, ids[expected[0]]) == [ids[index] for index in expected[1:]]


def test_a_message_is_described_by_what_a_person_knows(spool: str) -> None:
    three(spool)
    found = [words for _, words in offered(spool, "queue", "show")]
    assert found == [f"{sender} to r@b.example +1" for sender in ("s@a.example", "<>", "t@a.example")]


def test_of_very_many_the_next_character_is_offered(spool: str) -> None:
    ids = [f"25X0LCH{first}{rest:03d}00000Z"[:17] for first in "BC" for rest in range(300)]
    for one in ids:
        os.close(os.open(f"{spool}/new/{one}", os.O_CREAT))
    assert plain(spool, "queue", "show") == ["25X0LCHB", "25X0LCHC"]
    assert len(plain(spool, "queue", "show", begun="25X0LCHB")) == 300


def test_addresses_and_domains_of_the_queue(spool: str) -> None:
    three(spool)
    assert plain(spool, "queue", "list", "--sender") == ["s@a.example", "<>", "t@a.example"]
    assert plain(spool, "queue", "retry", "--recipient", begun="Q") == ["q@c.example"]
    assert plain(spool, "flush", "--domain") == ["b.example", "c.example"]
    assert plain(spool, "queue", "list", "--state", begun="h") == ["held"]


def test_bad_hosts_with_their_reasons(spool: str) -> None:
    memory = BadHosts(f"{spool}/hosts.json", lambda: hosts_lock(spool), warn=lambda sentence: None)
    memory.mark_bad("mx1.example.org:25", "connection refused")
    memory.mark_bad("mx2.example.org:25", "timed out")
    assert memory.save()
    assert offered(spool, "hosts", "reset") == [
        ("mx1.example.org:25", "connection refused"),
        ("mx2.example.org:25", "timed out"),
    ]
    assert plain(spool, "hosts", "reset", "mx1.example.org:25", begun="MX") == ["mx2.example.org:25"]


def test_the_rules_and_nothing_of_what_is_in_them(tmp_path: Path, spool: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[[relay]]\nname = "work"\nhosts = ["smtp://a.example", "smtp://b.example"]\n[[relay]]\nhosts = ["mx"]\n')
    found = offered(spool, "--config", str(file), "check", "--relay")
    assert found == [("work", None), ("relay2", None)]
    assert plain(spool, "--config", str(file), "check", "--relay", begun="w") == ["work"]
    assert plain(spool, "--config", f"{tmp_path}/none", "check", "--relay") == []


def test_commands_are_offered_with_their_summaries_and_hidden_ones_are_not(spool: str) -> None:
    found = dict(offered(spool))
    assert {"flush", "queue", "hosts", "setup"} <= found.keys() and "mailq" not in found
    assert all(found.values())
    assert "--config" in plain(spool, begun="--c")


@pytest.mark.parametrize("words", ["queue show", "flush --domain", "hosts reset", "queue list --sender"])
@pytest.mark.parametrize("where", ["/nonexistent", "/etc/passwd", "/proc"])
def test_where_nothing_can_be_looked_at_nothing_is_offered(where: str, words: str) -> None:
    assert plain(where, *words.split()) == []


def test_a_configuration_that_cannot_be_read_offers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text("spool = \n")
    monkeypatch.delenv("SMARTRELAY_SPOOL", raising=False)
    complete = BashComplete(smartrelay, {}, "smartrelay", "_SMARTRELAY_COMPLETE")
    assert complete.get_completions(["--config", str(file), "queue", "show"], "") == []


def test_files_and_directories_are_the_shells_to_find(spool: str) -> None:
    for words, kind in ((["--config"], "file"), (["--spool"], "dir"), (["setup", "--root"], "dir")):
        complete = BashComplete(smartrelay, {}, "smartrelay", "_SMARTRELAY_COMPLETE")
        assert [item.type for item in complete.get_completions(words, "/")] == [kind]
    assert suggest.every is not suggest.waiting
