"""1,000 messages to 1,000 domains, 20 ms to the name server and 20 ms to the exchangers: how much of it goes side by side."""

from benchmarks import figures
from benchmarks.courses import Course, Ours, compare
from benchmarks.figures import Figure
from benchmarks.line import MILLISECONDS, Line
from benchmarks.process import Timing
from benchmarks.sink import NAME, Sink
from tests.support.dns_server import Zone, dns_process

ROUNDS, QUICK = 5, 2
_COUNT, _CONNECTIONS = 1000, 50
_LIMITS = f"max_connections = {_CONNECTIONS}"
# For the exchangers, then for their addresses.
_ANSWERS = 2
# To connect, for the greeting, EHLO, the envelope, and the text.
_TRIPS = 5
_MOST = 1.5
_ALL, _ONE, _NEAR = "all", "one", "near"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    zone = _zone()
    with (
        Sink() as sink,
        Line(sink.port, NAME) as line,
        dns_process(zone, MILLISECONDS / 1000) as far,
        dns_process(zone) as near,
    ):
        courses: dict[str, Course] = {
            _ALL: Ours(folder, line.port, _COUNT, limits=_LIMITS, nameserver=far),
            _ONE: Ours(folder, line.port, 1, limits=_LIMITS, nameserver=far),
            _NEAR: Ours(folder, sink.port, 1, limits=_LIMITS, nameserver=near),
        }
        timings = compare(courses, QUICK if quick else ROUNDS)
        chain = _ANSWERS * MILLISECONDS / 1000 + _TRIPS * line.round_trip
    return [
        Figure("a message to one domain, nothing far away: start-up", timings[_NEAR]),
        Figure("a message to one domain, 20 ms away", timings[_ONE], f"its chain: {chain * 1000:.0f} ms"),
        _side_by_side(timings[_ALL], timings[_NEAR], chain),
        Figure("the same: the processor", None, f"{figures.cpu(timings[_ALL], _COUNT):.2f} ms for each message"),
    ]


def _side_by_side(timing: Timing, start_up: Timing, chain: float) -> Figure:
    ideal = chain * _COUNT / _CONNECTIONS
    share = (timing.median - start_up.median) / ideal
    compared = f"{share:.2f} x all chains / {_CONNECTIONS} ({ideal:.2f} s), without start-up"
    what = f"{_COUNT:,} messages to as many domains, 20 ms away, {_CONNECTIONS} connections"
    return Figure(what, timing, compared, f"≤ {_MOST:g} x", share <= _MOST)


def _zone() -> Zone:
    zone: dict[str, list[str]] = {}
    for number in range(_COUNT):
        zone[f"d{number}.test"] = [f"MX 10 mx.d{number}.test"]
        zone[f"mx.d{number}.test"] = ["A 127.0.0.1"]
    return zone
