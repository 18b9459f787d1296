"""The real components and the fakes that tests stand on; `tests/conftest.py` makes fixtures of them."""
