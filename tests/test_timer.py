"""The periodic call, for containers: passes at a distance, at once for new mail, and an end when it is asked for."""

import threading

from smartrelay.relay.timer import RelayStateHelper


def test_it_checks_until_it_is_stopped_from_within() -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            helper.stop()

    helper = RelayStateHelper(check, 0.001, lambda: False)
    helper.start()
    assert len(calls) == 3


def test_new_mail_ends_the_wait() -> None:
    """The delay is an hour; the looks are not counted in it."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            helper.stop()

    helper = RelayStateHelper(check, 3600.0, lambda: True)
    helper.LOOK = 0.001
    helper.start()
    assert len(calls) == 2


def test_another_thread_can_stop_it_in_the_middle_of_a_wait() -> None:
    looked = threading.Event()

    def news() -> bool:
        looked.set()
        return False

    helper = RelayStateHelper(lambda: None, 3600.0, news)
    helper.LOOK = 0.001
    thread = threading.Thread(target=helper.start)
    thread.start()
    assert looked.wait(20)
    helper.stop()
    thread.join(20)
    assert not thread.is_alive()
