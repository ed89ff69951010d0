"""What does a test of the client find ready? A server in the same process, and producers that do not wait long."""

import pytest

from tidewater import Producer
from tidewater.testing import FakeServer

QUICK = {"retry_min_delay_s": 0.005, "retry_max_delay_s": 0.02, "flush_interval_s": 0.01}


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def producer_of(server):
    """Makes producers of table t; what a test leaves open is abandoned."""
    made = []

    def make(producer_id: str = "p", **options) -> Producer:
        made.append(Producer("t", producer_id, server.url, **{**QUICK, **options}))
        return made[-1]

    yield make
    server.release()
    for producer in made:
        producer.abandon()
