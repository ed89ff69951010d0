"""How does a test wait for something that a server does in its own time?"""

import time
from collections.abc import Callable

POLL_S = 0.05


def until(condition: Callable[[], bool], what: str, within_s: float = 20):
    """Asks until it is so; fails when it is not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not after {within_s} s: {what}"
        time.sleep(POLL_S)
