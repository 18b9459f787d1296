"""Which addresses are this machine's own, on the machine itself and in networks of their own."""

import json
import os
import subprocess
import sys

import pytest

from smartrelay.routing.network import is_local

APART = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")
ASK = """
import json, subprocess, sys
from smartrelay.routing.network import is_local
for command in ("ip link set lo up", "ip address add 192.0.2.1/32 dev lo", "ip address add 2001:db8::1/128 dev lo nodad"):
    subprocess.run(command.split(), check=True)
for family in ("ipv4", "ipv6"):
    with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w") as file:
        file.write(sys.argv[1])
print(json.dumps([address for address in sys.argv[2:] if is_local(address)]))
"""
OURS = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "192.0.2.1", "::1", "::", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:192.0.2.1"]
OTHERS = ["192.0.2.2", "198.51.100.1", "2001:db8::2", "2001:db9::1", "::ffff:192.0.2.2", "224.0.0.1", "ff02::1"]


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
def test_our_own_addresses_are_those_that_what_is_sent_there_comes_from(nonlocal_bind: str) -> None:  # B-018
    """Also where Linux lets a socket be bound to any address at all (ip_nonlocal_bind, as balancers want it): all mail for
    exchangers would be taken for a loop there, and fail."""
    command = [*APART, sys.executable, "-c", ASK, nonlocal_bind, *OURS, *OTHERS]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == OURS


def test_an_address_that_has_no_way_is_not_ours() -> None:
    assert not is_local("fe80::1") and not is_local("240.0.0.1")
