"""Rows into and out of data frames by ADBC, the driver of Arrow Flight SQL.

Beside `tidewater serve`. Polars or pandas show the answer if they are there; without them it is an Arrow table.

    python -m pip install adbc-driver-flightsql adbc-driver-manager pyarrow polars
    python clients/examples/adbc_query.py --server grpc://127.0.0.1:8815
"""

import argparse
import importlib.util

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow

# Like any rows that a program has; the key makes it safe to send them again.
ROWS = pyarrow.table(
    {
        "station": pyarrow.array(["north", "north", "south", "south", "south"]),
        "day": pyarrow.array([1, 2, 1, 2, 2], pyarrow.int32()),
        "rain_mm": pyarrow.array([0.0, 12.5, 3.25, 8.0, 8.0]),
    }
)


def shown(rows: pyarrow.Table):
    """As the first library that is there shows it."""
    if importlib.util.find_spec("polars"):
        import polars

        return polars.from_arrow(rows)
    if importlib.util.find_spec("pandas"):
        return rows.to_pandas()
    return rows.to_pylist()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default="grpc://127.0.0.1:8815")
    given = arguments.parse_args()
    # Each statement commits by itself.
    with flightsql.connect(given.server, autocommit=True) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS rain (station VARCHAR, day INTEGER, rain_mm DOUBLE, PRIMARY KEY (station, day))")
        cursor.adbc_ingest("rain", ROWS, mode="append")
        cursor.execute("SELECT station, count(*) AS days, sum(rain_mm) AS rain_mm FROM rain WHERE day <= ? GROUP BY station ORDER BY station", (2,))
        print(shown(cursor.fetch_arrow_table()))
        cursor.execute("SELECT sum(duplicate) FROM system.ledger l JOIN system.tables t ON t.id = l.table_id WHERE t.name = 'rain'")
        print(f"{cursor.fetchone()[0]} duplicates were dropped")


if __name__ == "__main__":
    main()
