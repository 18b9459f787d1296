"""Another connection is of use only while our threads have time to wait in; one is too many when they have none."""

from smartrelay.relay.pace import Pace


class Machine:
    """A processor's time and the time on the wall, both by hand."""

    def __init__(self) -> None:
        self.spent = self.now = 100.0

    def go_on(self, seconds: float, share: float) -> None:
        self.now += seconds
        self.spent += seconds * share


def test_it_is_neither_free_nor_busy_until_it_can_be_told() -> None:
    """The first connection shows how fast the server is, before a second one is made."""
    machine = Machine()
    pace = Pace(lambda: machine.spent, lambda: machine.now)
    machine.go_on(0.005, 0.0)
    pace.look()
    assert (pace.free, pace.busy) == (False, False)
    machine.go_on(0.006, 0.0)
    pace.look()
    assert (pace.free, pace.busy) == (True, False)


def test_only_the_time_since_the_last_look_counts() -> None:
    machine = Machine()
    pace = Pace(lambda: machine.spent, lambda: machine.now)
    found = []
    for share in (0.1, 0.95, 0.95, 0.7, 1.9, 0.3):
        machine.go_on(0.02, share)
        pace.look()
        found.append((pace.free, pace.busy))
    free, busy, neither = (True, False), (False, True), (False, False)
    assert found == [free, busy, busy, neither, busy, free]


def test_looks_in_quick_succession_do_not_change_its_mind() -> None:
    machine = Machine()
    pace = Pace(lambda: machine.spent, lambda: machine.now)
    machine.go_on(0.02, 0.0)
    pace.look()
    machine.go_on(0.001, 1.0)
    pace.look()
    assert pace.free and not pace.busy
