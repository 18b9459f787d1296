"""Thirty days of a machine, from a seed: outages, sleeps, jumps of the clock, rates, faults of the account and crashes.

In each run: nothing is lost, nothing bounces before its time or without a last attempt, nobody gets a message twice but where
law 10 allows, and of each recipient is told what NOTIFY asks for, once. The laws are in `truth`.

SIMULATIONS=5000 makes so many runs (two thirds of a second each); SIMULATION=17 is the first seed.
"""

import os

import pytest

from tests.simulation.world import World
from tests.support.queues import scratch

RUNS = int(os.environ.get("SIMULATIONS", "12"))
FIRST = int(os.environ.get("SIMULATION", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
def test_a_month_loses_nothing_and_bounces_nothing_early(seed: int) -> None:  # C-005 C-010
    with scratch() as folder:
        World(folder, seed).run()
