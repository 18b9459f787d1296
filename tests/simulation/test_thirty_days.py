"""Thirty days of a machine, seeded, as many of them as fit into the suite; SIMULATIONS=5000 runs so many.

In each: nothing is lost, nothing bounces before its time or without a last attempt, nobody gets a message twice but where
law 10 allows, and of each recipient is told what NOTIFY asks for, once. The laws are in `truth`.
"""

import os

import pytest

from tests.simulation.world import World
from tests.support.queues import scratch

RUNS = int(os.environ.get("SIMULATIONS", "0"))
FIRST = int(os.environ.get("SIMULATION", "0"))


@pytest.mark.parametrize("seed", range(5))
def test_month(seed: int) -> None:
    with scratch() as folder:
        World(folder, seed).run()
