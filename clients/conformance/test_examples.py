"""Do the examples do what they say? Each is run as its first lines say, and what it leaves is looked at; no file of the folder is left out."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.client import Client
from harness.pages import ROOT, Reader, blocks, header_commands
from harness.server import Server

EXAMPLES = ROOT / "clients" / "examples"
DASHBOARDS = ["counts_per_minute", "distinct_items", "duplicates", "latest_per_camera", "top_items"]
TRACES = ["history", "lookup", "lots", "schema"]
PROGRAMS = ["adbc_query.py", "grpc_query.py", "http.sh", "live_chart.py", "movies/run.sh", "producer.py"]
# Run by a page, or no programs; Grafana's files are compared with the metrics by test_metrics.py.
OTHERS = {"README.md", "movies/movies.csv", "product_trace/README.md", "product_trace/generate.py"}


@pytest.fixture
def reader(tmp_path):
    with Reader(tmp_path) as reader:
        yield reader


def run(reader, name: str) -> str:
    """What an example prints when it is run as it says."""
    lines = header_commands(EXAMPLES / name)
    assert any(name in line for line in lines), f"{name} does not say how it is run: {lines}"
    return reader.shell(reader.here("\n".join(lines)))


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_no_example_is_left_out():
    found = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    queries = {f"detections/{name}.sql" for name in [*DASHBOARDS, "schema"]} | {f"product_trace/{name}.sql" for name in TRACES}
    assert {name for name in found if not name.startswith("grafana/")} == queries | set(PROGRAMS) | OTHERS


def test_queries_of_dashboards(reader):
    run(reader, "detections/schema.sql")
    seen = [  # location, camera, item, seconds ago
        (1, 10, "bus", 100), (1, 10, "bus", 90), (1, 11, "car", 80), (2, 20, "dog", 70), (1, 10, "tram", 3), (2, 20, "dog", 7200),
    ]  # fmt: skip
    values = ", ".join(f"({at}, {camera}, {i}, '{item}', now() - INTERVAL '{ago} seconds')" for i, (at, camera, item, ago) in enumerate(seen))
    for _ in range(2):
        reader.shell(f'tidewater sql -c "INSERT INTO detections VALUES {values}"\n')
    answers = {name: rows(run(reader, f"detections/{name}.sql")) for name in DASHBOARDS}
    assert [(row["location"], row["total"], row["item"], row["n"]) for row in answers["top_items"]] == [
        ("1", "4", "bus", "2"), ("1", "4", "car", "1"), ("1", "4", "tram", "1"), ("2", "1", "dog", "1"),
    ]  # fmt: skip
    assert sum(int(row["n"]) for row in answers["counts_per_minute"]) == 5
    assert [(row["video_camera_oid"], row["item_name"]) for row in answers["latest_per_camera"]] == [("10", "tram"), ("11", "car"), ("20", "dog")]
    assert [(row["geographical_location_oid"], row["items"], row["about"]) for row in answers["distinct_items"]] == [("1", "3", "3"), ("2", "1", "1")]
    (ledger,) = answers["duplicates"]
    assert (ledger["received"], ledger["accepted"], ledger["duplicate"], ledger["rejected"]) == ("12", "6", "6", "0")


def test_a_producer_goes_on_where_it_stopped(reader):
    assert "batches 1 to 50: 5000 rows accepted, 0 duplicate, 0 rejected" in run(reader, "producer.py")
    assert "batches 51 to 100: 5000 rows accepted, 0 duplicate, 0 rejected" in run(reader, "producer.py")
    counted = rows(reader.shell('tidewater sql -c "SELECT count(*) AS n, count(DISTINCT detection_oid) AS keys FROM detections"\n'))
    assert counted == [{"n": "10000", "keys": "10000"}]


def test_a_producer_lives_through_kills_of_its_server(reader, tmp_path):
    """The server is killed again and again while batches are on the way."""
    run(reader, "producer.py")  # Makes the stubs.
    server = Server(tmp_path / "killed").start()
    try:
        with Client(server.grpc) as client:
            client.execute("".join(line for line in (EXAMPLES / "detections/schema.sql").open() if not line.startswith("--")))
        command = [sys.executable, EXAMPLES / "producer.py", "--server", server.grpc, "--batches", "3000", "--rows", "10"]
        environment = {**reader.environment, "PYTHONPATH": str(reader.folder / "stubs")}
        with (tmp_path / "printed").open("w+") as printed:
            producer = subprocess.Popen(command, stdout=printed, stderr=printed, env=environment)
            try:
                for thousands in (1, 2):
                    with Client(server.grpc) as client:
                        while producer.poll() is None and client.value("SELECT count(*) FROM detections") < thousands * 5_000:
                            pass
                    server.restart(kill=True)
                status = producer.wait(120)
            finally:
                producer.kill()
            printed.seek(0)
            text = printed.read()
        assert status == 0 and "batches have no answer" in text, text
        with Client(server.grpc) as client:
            assert client.rows("SELECT count(*), count(DISTINCT detection_oid) FROM detections") == [(30_000, 30_000)], text
            # Not the key kept rows from being stored twice, but the numbers did.
            assert client.value("SELECT sum(duplicate) FROM system.ledger") == 0, text
    finally:
        server.kill()


def test_curl(reader):
    printed = run(reader, "http.sh")
    first, again = (json.loads(line) for line in printed.splitlines()[:2])
    assert [first[name] for name in ("received", "accepted", "duplicate", "rejected", "repeated")] == [4, 2, 1, 1, False]
    assert [again[name] for name in ("received", "accepted", "duplicate", "rejected", "repeated")] == [4, 2, 1, 1, True]
    assert '["north",1,20.5]' in printed and '["south",1,21.25]' in printed, printed
    assert "id,sensor,value\n1,north,20.5\n2,south,21.25\n" in printed, printed
    assert pa.ipc.open_stream((reader.folder / "readings.arrow").read_bytes()).read_all().num_rows == 2


def test_a_query_over_grpc(reader):
    printed = run(reader, "grpc_query.py")
    assert "2026-01-31T11:00:00+00:00 1\n2026-01-31T12:00:00+00:00 1\n2 rows, planned in " in printed, printed


def test_data_frames(reader):
    for n_times in (1, 2):
        printed = run(reader, "adbc_query.py")
        # Each run sends the same five rows, two of them the same.
        assert f"{5 * n_times - 4} duplicates were dropped" in printed, printed
        assert re.search(r"north.*12\.5", printed) and re.search(r"south.*11\.25", printed), printed


def test_a_live_chart(reader):
    (command,) = header_commands(EXAMPLES / "live_chart.py")
    run_here = reader.here(command).replace("--port 8501", "--port 0").split()[1:]
    run(reader, "detections/schema.sql")
    reader.shell("tidewater sql -c \"INSERT INTO detections VALUES (1, 1, 1, 'bus', now()), (1, 1, 2, 'car', now())\"\n")
    chart = subprocess.Popen([sys.executable, *run_here], stdout=subprocess.PIPE, text=True, cwd=reader.folder, env=reader.environment)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        url = chart.stdout.readline().split()[0]
        with opener.open(url, timeout=60) as answer:
            page = answer.read().decode()
        assert "2 detections in 120 s" in page and page.count("<polyline") == 1, page
        assert len(re.search(r'points="([^"]*)"', page)[1].split()) == 120
        # Without a server it says so, and goes on.
        reader.stop(signal.SIGTERM)
        with opener.open(url, timeout=60) as answer:
            assert "no answer from " in answer.read().decode()
    finally:
        chart.kill()
        chart.wait()
        chart.stdout.close()


def test_products_are_traced(reader):
    printed = []
    for block in blocks(EXAMPLES / "product_trace/README.md"):
        printed.append(reader.run(block))
    loaded, asked, sealed = printed
    # The generator says what the server has to count.
    _, sent, different = map(int, re.search(r"(\d+) products, (\d+) reports, (\d+) of them different", loaded).groups())
    line = next(line for line in loaded.splitlines() if line.startswith("product_events.csv"))
    assert f"{sent} rows received, {different} accepted, {sent - different} duplicate, 0 rejected" in line
    assert "P000042" in asked and asked.count(",press,1,") == 1
    lots = rows(asked[asked.index("\nlot,") + 1 :])
    assert sum(int(lot["products"]) for lot in lots) == 500 and any(lot["products"] != lot["at_first"] for lot in lots)
    # Sealed rows answer as fresh ones did.
    answer = next(line for line in asked.splitlines() if line.startswith("P000042,"))
    assert answer in sealed.splitlines(), sealed
    for name in TRACES:
        assert header_commands(EXAMPLES / f"product_trace/{name}.sql") == [f"tidewater sql -f clients/examples/product_trace/{name}.sql"]


def test_movies_are_there_once(reader):
    with (EXAMPLES / "movies/movies.csv").open() as file:
        lines = list(csv.DictReader(file))
    first = {}
    for line in lines:
        first.setdefault((int(line["movieId"]), line["title"]), line)
    n_twice = len(lines) - len(first)
    assert n_twice > 0 and any(n > 1 for n in Counter(number for number, _ in first).values())
    printed = run(reader, "movies/run.sh")
    assert f"{len(lines)} rows received, {len(first)} accepted, {n_twice} duplicate, 0 rejected" in printed, printed
    assert f"received,accepted,duplicate\n{len(lines)},{len(first)},{n_twice}\n" in printed, printed
    assert "9,Solaris; Solyaris" in printed, printed
    exported = pq.read_table(reader.folder / "movies.parquet")
    assert [(row["movieId"], row["title"]) for row in exported.to_pylist()] == sorted(first)
    # The first row of a key won.
    assert {row["title"]: row["year"] for row in exported.to_pylist()}["M"] == 1931
