"""The figures and the table that they are printed in."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.courses import Course
from benchmarks.process import Timing


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. compared: what the target is about, in words; met: None where there is no target."""

    what: str
    timing: Timing | None = None
    compared: str = ""
    target: str = ""
    met: bool | None = None


def ratio(what: str, timing: Timing, base: Timing, name: str, most: float) -> Figure:
    """A figure that may be at most so many times another; the medians decide, minima and CPU time stand beside them."""
    by_median, by_least = timing.median / base.median, timing.least / base.least
    by_cpu = statistics.median(timing.cpu) / statistics.median(base.cpu)
    compared = f"{by_median:.2f} x {name} (minima {by_least:.2f}, CPU {by_cpu:.2f})"
    return Figure(what, timing, compared, f"≤ {most:g} x {name}", by_median <= most)


def speed(what: str, timing: Timing, base: Timing, name: str, least: float) -> Figure:
    """A figure that must be at least so many times as fast as another; the medians decide."""
    by_median, by_least = base.median / timing.median, base.least / timing.least
    compared = f"{by_median:.2f} x {name} (minima {by_least:.2f})"
    return Figure(what, timing, compared, f"≥ {least:g} x {name}", by_median >= least)


def rate(course: Course, timing: Timing, what: str) -> Figure:
    """What a course took: how many messages in a second, and the processor's time for each."""
    what = f"{course.count:,} x {what}"
    if timing.trouble:
        return Figure(what, None, f"not run: {timing.trouble}")
    return Figure(what, timing, f"{course.count / timing.median:.0f}/s, {cpu(timing, course.count):.2f} ms CPU each")


def best(timings: dict[str, Timing]) -> str:
    """The name of the fastest of those that ran; empty when none did."""
    return min((name for name in timings if not timings[name].trouble), key=lambda name: timings[name].median, default="")


def cpu(timing: Timing, count: int) -> float:
    """The processor's milliseconds for each of so many messages."""
    return statistics.median(timing.cpu) * 1000 / count


def memory(what: str, timing: Timing, most: int) -> Figure:
    """A figure whose target is a resident set of at most so many MB."""
    return Figure(f"{what}: memory", None, f"{timing.memory / 1e6:.1f} MB", f"< {most} MB", timing.memory < most * 1e6)


def table(figures: Iterable[Figure]) -> str:
    """The figures in Markdown."""
    lines = ["| what | min | median | compared | target | |", "|---|---:|---:|---|---|---|"]
    for figure in figures:
        least, median = (_time(figure.timing.least), _time(figure.timing.median)) if figure.timing else ("", "")
        result = {True: "met", False: "**missed**", None: ""}[figure.met]
        lines.append(f"| {figure.what} | {least} | {median} | {figure.compared} | {figure.target} | {result} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.3f} s"
