"""Time that moves only when a test says so."""

START = 1_800_000_000.0


class FakeClock:
    """A clock to hand in wherever `time.time` or `time.monotonic` would go: calling it tells the time."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; a negative number sets the clock back, as an operator or NTP does."""
        self.now += seconds
