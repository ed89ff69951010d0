"""What does the server answer? Statements over ADBC, answers as Arrow, Polars, pandas or plain rows, now or with `await`.

    with tidewater.connect("tidewater://127.0.0.1:8815") as client:
        print(client.query("SELECT 1 AS one").rows())
"""

from .aio import AsyncClient, AsyncResult, connect_async
from .client import Client, connect
from .result import Result

__all__ = ["AsyncClient", "AsyncResult", "Client", "Result", "connect", "connect_async"]
