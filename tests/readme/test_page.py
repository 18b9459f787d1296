"""The README keeps to what is tested: every line that it has people type is typed by a test, every block that they copy is
accepted."""

import importlib
import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartrelay import config
from tests.readme.host import CHECKOUT, Host
from tests.readme.page import Page, lines_of, read, runs
from tests.readme.pictures import queue_list

MAKE = ("make demo", "make check", "make test", "make bench", "SIMULATIONS=5000 make test-one PYTEST=tests/simulation")


def functions() -> Iterator[object]:
    for name in sorted(os.listdir(os.path.dirname(__file__))):
        if re.fullmatch(r"test_\w+\.py", name):
            module = importlib.import_module(f"{__package__}.{name.removesuffix('.py')}")
            yield from (function for _, function in inspect.getmembers(module, inspect.isfunction))


def test_every_line_is_run_by_a_test_and_every_test_runs_lines_that_are_there(page: Page) -> None:
    run = {line for test in functions() for line in lines_of(test)}
    assert set(page.lines) - run == set(), "no test runs these"
    assert run - set(page.lines) == set(), "the README does not have these any more"


@pytest.mark.parametrize("text", [text for language, text in read().blocks if language == "toml"])
def test_every_block_of_configuration_is_accepted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "smartrelay.toml"
    path.write_text(text, encoding="utf-8")
    config.load(str(path))


@runs(*MAKE)
@pytest.mark.parametrize("line", MAKE)
def test_every_target_of_make_is_there(line: str) -> None:
    """What they do is tried by whoever runs them. Without the other Pythons: make would go on to what it has not made."""
    done = subprocess.run(["sh", "-c", f"{line} -n PYTHONS="], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_nothing_is_left_to_be_filled_in(page: Page) -> None:
    with open(f"{CHECKOUT}/README.md", encoding="utf-8") as file:
        assert re.findall(r"@[A-Z]+@", file.read()) == []


def test_no_block_is_in_a_language_that_no_test_knows(page: Page) -> None:
    assert {language for language, _ in page.blocks} <= {"", "toml"}


def test_the_picture_of_a_queue_is_what_the_command_shows(page: Page) -> None:
    assert page.block("queue list\nID") == f"$ smartrelay queue list\n{queue_list()}"


def test_the_picture_of_the_demo_is_abridged_from_what_it_says(host: Host, page: Page) -> None:
    """Line by line, in order; dots stand for what is left out, and ids, numbers of processes and ports are others each time. As
    root, who has another user own the spool."""
    said = host.run("smartrelay", "demo")
    assert (said.code, said.errors) == (0, ""), said
    shown = "\n".join(line for line in page.block("A program hands").splitlines() if line.strip() != "...")
    pattern = re.escape(re.sub(r"\b[0-9A-Z]{17}\b", "ID", shown)).replace(re.escape("..."), ".*")
    pattern = re.sub(r"\\\[\d+\\\]", r"\\[\\d+\\]", pattern).replace(":44945", r":\d+")
    lines = r"\n(?:.*\n)*?".join(pattern.replace("\\\n", "\n").split("\n"))
    assert re.search(f"^{lines}$", re.sub(r"\b[0-9A-Z]{17}\b", "ID", said.output.decode()), re.MULTILINE)
