"""How does a program that can be killed send a bulk ingest? Half of it, then it says so and waits for a line before it sends the rest.

bulk_client.py ADDRESS TABLE MODE N_BATCHES: prints `half` and at the end `stored ROWS`.
"""

import pathlib
import sys

import adbc_driver_flightsql.dbapi

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from harness import rows  # noqa: E402


def half_then_rest(n_batches: int):
    for i in range(n_batches):
        if i == n_batches // 2:
            print("half", flush=True)
            sys.stdin.readline()
        yield rows.batch(i)


def main(address: str, table: str, mode: str, n_batches: str):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{address}", autocommit=True) as connection, connection.cursor() as cursor:
        print("stored", cursor.adbc_ingest(table, rows.reader(half_then_rest(int(n_batches))), mode=mode), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
