"""A plan: steps in their order, shown before they are done, and remarks for the operator."""

from collections.abc import Callable
from dataclasses import dataclass, field

from smartrelay.errors import CannotCreate
from smartrelay.installation.step import Step


@dataclass
class Plan:
    """Steps that are needed, and what a person should know besides."""

    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What would be done."""
        return [step.describe() for step in self.steps]

    def apply(self, say: Callable[[str], None]) -> None:
        """Does it, step by step, each said before it is done; what fails ends it, and what was done stays in the
        record."""
        for step in self.steps:
            line = step.describe()
            say(line)
            try:
                step.apply()
            except OSError as error:
                raise CannotCreate(f"cannot {line}: {error.strerror or error}") from error
