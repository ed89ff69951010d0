"""Writes products.csv and product_events.csv: what a line of five stations reports, one report in twenty twice.

    python clients/examples/product_trace/generate.py --products 500 --seed 1
"""

import argparse
import csv
import datetime
import pathlib
import random

STATIONS = ["press", "weld", "assemble", "test", "pack"]
START = datetime.datetime(2026, 1, 31, 6, tzinfo=datetime.UTC)


def events(code: str, begin: datetime.datetime, chance: random.Random):
    """The reports of one product: an attempt that fails is made again, up to three times."""
    at = begin
    for station in STATIONS:
        for attempt in (1, 2, 3):
            at += datetime.timedelta(seconds=chance.randint(20, 90))
            result = "failed" if attempt < 3 and chance.random() < 0.05 else "passed"
            torque = f"{chance.uniform(4, 6):.3f}" if station == "assemble" else ""
            yield code, station, attempt, at.isoformat(), result, torque
            if result == "passed":
                break


def write(path: pathlib.Path, header: list[str], rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--products", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    given = arguments.parse_args()
    chance = random.Random(given.seed)
    products, reports = [], []
    for n in range(given.products):
        code = f"P{n:06}"
        products.append((code, chance.choice(["small", "large"]), f"LOT-{n // 50:03}"))
        for report in events(code, START + datetime.timedelta(seconds=30 * n), chance):
            reports.append(report)
            if chance.random() < 0.05:
                reports.append(report)
    # As gateways deliver them: not in order.
    chance.shuffle(reports)
    write(given.folder / "products.csv", ["product_code", "model", "lot"], products)
    write(given.folder / "product_events.csv", ["product_code", "station", "attempt", "happened_at", "result", "torque_nm"], reports)
    print(f"{len(products)} products, {len(reports)} reports, {len(set(reports))} of them different")


if __name__ == "__main__":
    main()
