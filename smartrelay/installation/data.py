"""Where the files that setup puts in place come from: the installed package's data, or the checkout it runs from."""

import os

from smartrelay.errors import CannotCreate

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = {"systemd": "contrib/systemd", "man": "man", "completion": "contrib/completion"}


def directory(kind: str) -> str:
    """The directory of the data of this kind ("systemd", "man" or "completion")."""
    packed = f"{PACKAGE}/data/{kind}"
    if os.path.isdir(packed):
        return packed
    checkout = f"{os.path.dirname(PACKAGE)}/{_CHECKOUT[kind]}"
    if os.path.isdir(checkout):
        return checkout
    raise CannotCreate(f"the package has no {kind} files (neither {packed} nor {checkout}); install smartrelay again")


def read(kind: str, name: str) -> str:
    """The text of one file of that kind."""
    with open(f"{directory(kind)}/{name}", encoding="utf-8") as file:
        return file.read()


def man_pages() -> list[str]:
    """The names of the man pages, such as smartrelay.1."""
    return sorted(name for name in os.listdir(directory("man")) if name[-2:-1] == "." and name[-1:].isdigit())
