"""How long is an answer waited for? Random waits up to a bound that doubles, until a deadline without progress."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import Error, GivenUpError

T = TypeVar("T")


class Backoff:
    """Waits between tries, with full jitter."""

    def __init__(self, min_delay_s: float, max_delay_s: float, deadline_s: float):
        self._min_delay_s, self._max_delay_s, self._deadline_s = min_delay_s, max_delay_s, deadline_s
        self._failing_since: float | None = None
        self._n_tries = 0

    def succeeded(self) -> None:
        self._failing_since, self._n_tries = None, 0

    def delay_s(self, error: Error) -> float:
        """How long to wait after this error; raises it when waiting does not cure it, or not in time."""
        if not error.retryable:
            raise error
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        bound = min(self._max_delay_s, self._min_delay_s * 2.0 ** min(self._n_tries, 30))
        self._n_tries += 1
        delay_s = max(random.uniform(0, bound), error.retry_after_s or 0)
        if now + delay_s - self._failing_since > self._deadline_s:
            raise error.with_context(
                f"given up after {now - self._failing_since:.1f} s without progress ({self._n_tries} tries)", GivenUpError
            )
        return delay_s


def retried(call: Callable[[], T], backoff: Backoff, wait: Callable[[float], object] = time.sleep) -> T:
    """Calls until it succeeds, or until its error is final."""
    while True:
        try:
            return call()
        except Error as error:
            wait(backoff.delay_s(error))
