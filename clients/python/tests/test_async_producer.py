"""Does the producer of asyncio do the same, and is a cancelled wait harmless?"""

import asyncio

import pytest

import tidewater
from conftest import QUICK


def producer_of(server, **options) -> tidewater.AsyncProducer:
    return tidewater.AsyncProducer("t", "p", server.url, **{**QUICK, **options})


def ids(server) -> list[int]:
    return [row["id"] for row in server.rows["t"]]


def test_rows_are_there_when_flush_returns(server):
    async def main():
        server.fail("lose_answer")
        async with producer_of(server, batch_max_rows=10) as producer:
            await producer.send({"id": number} for number in range(100))
            assert await producer.flush()
            answer = await producer.send_batch([{"id": 100}])
            assert (await answer).sequence == 11
            await producer.send({"id": 101})
        return producer.statistics

    assert asyncio.run(main()).rows_accepted == 102
    assert ids(server) == list(range(102))


def test_a_cancelled_wait_takes_no_row(server):
    async def main():
        async with producer_of(server, buffer_max_rows=1) as producer:
            server.hold()
            await producer.send({"id": 0})
            waiting = asyncio.create_task(producer.send({"id": 1}))
            flushing = asyncio.create_task(producer.flush())
            await asyncio.sleep(0.05)
            assert not waiting.done() and not flushing.done()
            for task in (waiting, flushing):
                task.cancel()
            assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(waiting, flushing, return_exceptions=True))
            server.release()
            await producer.send({"id": 2})
            async with asyncio.timeout(10):
                await producer.flush()

    asyncio.run(main())
    assert ids(server) == [0, 2]


def test_a_cancelled_close_goes_on(server):
    async def main():
        producer = await producer_of(server).open()
        server.hold()
        await producer.send({"id": 0})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await producer.close()
        server.release()
        await producer.close()

    asyncio.run(main())
    assert ids(server) == [0]


def test_the_loop_goes_on_while_a_buffer_is_full(server):
    async def main():
        ticks = 0
        async with producer_of(server, buffer_max_rows=5, batch_max_rows=5) as producer:
            server.hold()
            sending = asyncio.create_task(producer.send({"id": number} for number in range(20)))
            while ticks < 20:
                await asyncio.sleep(0.001)
                ticks += 1
            assert not sending.done()
            server.release()
            await sending

    asyncio.run(main())
    assert ids(server) == list(range(20))


def test_callbacks_run_on_the_loop(server):
    told = asyncio.Queue()

    async def on_rejected(rows, reasons):
        told.put_nowait((asyncio.get_running_loop(), rows, [reason.code for reason in reasons]))

    async def main():
        server.reject(lambda row: tidewater.RowError(0, "id", "OUT_OF_RANGE", "no"))
        async with producer_of(server, on_rejected=on_rejected) as producer:
            await producer.send({"id": 5})
            await producer.flush()
            async with asyncio.timeout(10):
                loop, rows, codes = await told.get()
            assert loop is asyncio.get_running_loop() and (rows, codes) == ([{"id": 5}], ["OUT_OF_RANGE"])

    asyncio.run(main())


def test_an_error_at_the_start(server):
    async def main():
        async with producer_of(server, connect_timeout_s=0.1):
            pass

    server.stop()
    with pytest.raises(tidewater.GivenUpError, match="given up after"):
        asyncio.run(main())


def test_several_loops_one_after_the_other(server):
    async def main(number):
        async with tidewater.AsyncProducer("t", f"p{number}", server.url, **QUICK) as producer:
            await producer.send({"id": number})

    for number in range(3):
        asyncio.run(main(number))
    assert ids(server) == [0, 1, 2]


def test_what_a_cancelled_send_took_can_be_known(server):
    async def main():
        async with producer_of(server, buffer_max_rows=3) as producer:
            server.hold()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await producer.send({"id": number} for number in range(10))
            taken = producer.statistics.rows_taken
            server.release()
            await producer.send({"id": number} for number in range(taken, 10))
        return taken

    assert asyncio.run(main()) == 3
    assert ids(server) == list(range(10))


def test_close_waits_for_callbacks(server):
    """A program that ends behind it would cancel them, and what they do with rejected rows would be half done."""
    kept = []

    async def on_rejected(rows, reasons):
        await asyncio.sleep(0.05)
        kept.extend(rows)

    async def main():
        server.reject(lambda row: tidewater.RowError(0, "id", "OUT_OF_RANGE", "no"))
        async with producer_of(server, on_rejected=on_rejected) as producer:
            await producer.send({"id": 5})
            await producer.flush()
            assert kept == [{"id": 5}]
            await producer.send({"id": 6})

    asyncio.run(main())
    assert kept == [{"id": 5}, {"id": 6}]


def test_a_callback_that_fails_is_logged_and_one_that_flushes_is_not_waited_for(server, caplog):
    async def on_rejected(rows, reasons):
        await asyncio.gather(*(producer.flush() for _ in range(2)))
        raise ZeroDivisionError

    async def main():
        nonlocal producer
        server.reject(lambda row: tidewater.RowError(0, "id", "OUT_OF_RANGE", "no"))
        async with asyncio.timeout(10), producer_of(server, on_rejected=on_rejected, on_progress=lambda statistics: 1 / 0) as producer:
            await producer.send({"id": 5})

    producer = None
    asyncio.run(main())
    assert "on_rejected failed" in caplog.text and "on_progress failed" in caplog.text


def test_a_producer_that_was_not_opened_or_was_twice(server):
    async def main():
        producer = producer_of(server)
        with pytest.raises(tidewater.InvalidRequestError, match="not begun"):
            await producer.send({"id": 1})
        async with producer:
            with pytest.raises(tidewater.InvalidRequestError, match="begun already"):
                await producer.open()
            await producer.send({"id": 1})

    asyncio.run(main())
    assert ids(server) == [1]
