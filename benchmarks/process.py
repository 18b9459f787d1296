"""Whole processes, timed from outside: posix_spawn, wait4, in rounds whose order is shuffled.

What is compared runs in the same minutes on the same machine, so that a load that comes and goes meets all of it.
"""

import json
import os
import random
import resource  # noqa: F401 - os.wait4 imports it, which it could not do after Command.enter
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field


def plain_environment() -> dict[str, str]:
    """Ours without what changes how Python runs: unbuffered output or no .pyc files, as containers have, cost much."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments. stdin: the file it reads; environment: all of it; enter: what is done in its process
    before it is there, and not timed, such as to become another user."""

    arguments: list[str]
    stdin: str = os.devnull
    environment: dict[str, str] = field(default_factory=plain_environment)
    enter: Callable[[], None] | None = None


@dataclass(slots=True)
class Timing:
    """The runs of one command. memory: its greatest resident set in octets; Linux counts that of the process that started
    it too, so a smaller one than this program's cannot be seen. cpu: seconds of it, which other load disturbs less. trouble:
    why there are no runs."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: int = 0
    trouble: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)


class Failed(Exception):
    """A command ended with an error: nothing that it took can be compared."""


def run(command: Command, output: str, timing: Timing) -> None:
    """Runs it once, its output in files `output` and `output`.err, and adds that to `timing`."""
    create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [os.open(command.stdin, os.O_RDONLY), *(os.open(path, create, 0o600) for path in (output, f"{output}.err"))]
    try:
        took, status, cpu, memory = _elsewhere(command, files) if command.enter else _timed(command, files)
    finally:
        for descriptor in files:
            os.close(descriptor)
    if status:
        with open(f"{output}.err", encoding="utf-8", errors="replace") as file:
            raise Failed(f"{' '.join(command.arguments)}: status {os.waitstatus_to_exitcode(status)}: {file.read()[-2000:]}")
    timing.seconds.append(took)
    timing.cpu.append(cpu)
    timing.memory = max(timing.memory, memory)


_Taken = tuple[float, int, float, int]
"""Seconds, the status of waitpid, seconds of the processor, the greatest resident set in octets."""


def _timed(command: Command, files: list[int]) -> _Taken:
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, target) for target, descriptor in enumerate(files)]
    begin = time.perf_counter()
    child = os.posix_spawn(command.arguments[0], command.arguments, command.environment, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    return time.perf_counter() - begin, status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _elsewhere(command: Command, files: list[int]) -> _Taken:
    """The same from a process that has entered first: this one could not come back."""
    assert command.enter is not None
    enter = command.enter
    heard, told = os.pipe()

    def work() -> None:
        enter()
        os.write(told, json.dumps(_timed(command, files)).encode("ascii"))

    try:
        apart(work)
        took, status, cpu, memory = json.loads(os.read(heard, 1 << 12))
    finally:
        os.close(heard)
        os.close(told)
    return took, status, cpu, memory


def apart(work: Callable[[], None]) -> None:
    """Does it in a process of its own, so that the memory it takes is not found in those that are started later."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise Failed("preparing failed")


def compare(
    commands: dict[str, Command],
    rounds: int,
    folder: str,
    *,
    warm_up: int = 1,
    before: Callable[[str], None] = lambda name: None,
    after: Callable[[str, str], None] = lambda name, output: None,
) -> dict[str, Timing]:
    """Runs all commands in each round. before, after: what is done around a run, not timed; `after` gets its output."""
    timings = {name: Timing() for name in commands}
    for number in range(-warm_up, rounds):
        for name in random.sample(list(commands), len(commands)):
            before(name)
            run(commands[name], f"{folder}/output", timings[name] if number >= 0 else Timing())
            after(name, f"{folder}/output")
    return timings
