"""What a pass of the simulated month finds outside: a network, and servers with moods."""

from typing import TYPE_CHECKING

from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from tests.simulation.server import CLOSE, KEEP_AND_CLOSE, Letter, Plug
from tests.simulation.truth import ACCOUNT_FAULT, DAY
from tests.support.clock import START

if TYPE_CHECKING:
    from tests.simulation.world import World

HOSTS = {"main.example": "a.example", "backup.example": "a.example", "box.example": "b.example"}
"""The servers, and the domain whose mail each takes: two of one relay, and one that speaks LMTP."""

WEATHER = ["up", "up", "refused", "timeout", "busy", "full", "closed", "account", "lossy", "drops", "flaky"]
"""What a server may be like; the last of them is each of the others in turn, from word to word."""


class Weather:
    """Of each host, and whether there is a network at all. What a pass asks of it are the protocols of `server` and
    `smtp.connector`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.of = dict.fromkeys(HOSTS, "up")
        self.offline = False

    def connect(self, target: Target, timeouts: object) -> "Plug | Answer":
        """A connection to one of the hosts, if the weather allows."""
        self._world.steps.step("connect")
        weather = self._weather_of(target.host)
        if self.offline:
            return Answer(Phase.CONNECT, trouble=Trouble.NO_NETWORK, text="connect: network is unreachable")
        if weather in ("refused", "timeout", "busy", "closed"):
            self._world.truth.asked[HOSTS[target.host]].append(self._world.true)
        if weather == "refused":
            return Answer(Phase.CONNECT, trouble=Trouble.NO_ROUTE, text="connect: connection refused")
        if weather == "timeout":
            self._world.true += 30
            return Answer(Phase.CONNECT, trouble=Trouble.TIMEOUT, text="connect: connection timed out")
        greeting = {"closed": "554 5.7.1 no", "busy": "421 4.3.2 busy"}.get(weather, "220 ready")
        return Plug(target.host, self, self._world.steps, lmtp=target.host == "box.example", greeting=greeting)

    def _weather_of(self, host: str) -> str:
        weather = self.of[host]
        return self._world.rng.choice(WEATHER[:-1]) if weather == "flaky" else weather

    def reply(self, host: str, point: str, address: str, letter: Letter) -> str:
        """What a server says."""
        weather = self._weather_of(host)
        if weather == "account" and point == "MAIL":
            return ACCOUNT_FAULT
        self._world.truth.asked[HOSTS[host]].append(self._world.true)
        if weather == "drops" and point in ("MAIL", "RCPT") and self._world.rng.random() < 0.3:
            return CLOSE
        if weather == "full" and point == "RCPT":
            return "452 4.2.2 full"
        if weather == "lossy" and point == "DOT" and (chance := self._world.rng.random()) < 0.7:
            return KEEP_AND_CLOSE if chance < 0.35 else CLOSE
        return self._verdict(host, point, address, letter)

    def _verdict(self, host: str, point: str, address: str, letter: Letter) -> str:
        kind = address[:3]
        if point == "RCPT":
            if kind == "bad" or (kind == "pol" and host == "backup.example"):
                self._world.truth.refused(address)
                return "550 5.1.1 no such user"
            if kind == "pol":
                self._world.truth.refused(address)
                return "550 5.7.1 not from you"
            if kind == "nev" or (kind == "slo" and self._world.true < START + 15 * DAY):
                return "450 4.2.1 not now"
        if point == "DOT" and any(each.startswith("spam") for each in letter.recipients):
            for each in letter.recipients:
                self._world.truth.refused(each)
            return "554 5.7.1 spam"
        return ""

    def took(self, letter: Letter, recipients: list[str], *, said: bool) -> None:
        """A server has a message."""
        report = "" if self.offers_dsn(letter.host) else "delivered" if letter.host == "box.example" else "relayed"
        self._world.truth.took(self._world.true, letter, recipients, said=said, report=report)

    def offers_dsn(self, host: str) -> bool:
        """One of the three does."""
        return host == "backup.example"

    def is_offline(self) -> bool:
        """Whether there is no network."""
        return self.offline
