"""Are all metrics there that the documentation, the dashboard and the alert rules name, and no others?"""

import datetime
import json
import pathlib
import re

import pyarrow as pa
import pytest
import yaml

from harness.client import Client, Refused, arrow_payload
from harness.http import get, sql
from harness.stubs import ingest

ROOT = pathlib.Path(__file__).parents[2]
GRAFANA = ROOT / "clients" / "examples" / "grafana"
METRIC = re.compile(r"\b(?:tidewater|process)_[a-z0-9_]+")
HISTOGRAM_PARTS = re.compile(r"_(bucket|sum|count)$")


def documented() -> dict[str, tuple[str, list[str], str]]:
    """Kind, labels and meaning by name."""
    rows = {}
    for line in (ROOT / "server/docs/metrics.md").read_text().splitlines():
        if line.startswith("| `"):
            name, kind, labels, meaning = [cell.strip() for cell in line.strip("|").split("|")]
            rows[name.strip("`")] = (kind, re.findall(r"`(\w+)`", labels), meaning)
    return rows


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found.append((name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")), float(value)))
    return found


@pytest.fixture(scope="module")
def exported(server):
    """What /metrics says behind a small workload."""
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE seen (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, PRIMARY KEY (id)) WITH (time_column = 'at')")
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        batch = pa.table({"id": pa.array([1, 2, 2], pa.int64()), "at": pa.array([now] * 3, pa.timestamp("us"))})
        who = ingest.Producer(id="p", epoch=client.init_producer("seen", "p").epoch)
        client.write("seen", arrow_payload(batch), producer=who, sequence=1)
        client.write("seen", arrow_payload(batch), producer=who, sequence=1)
        bad = pa.table({"id": pa.array([3], pa.int64()), "at": pa.array([None], pa.timestamp("us"))})
        client.write("seen", arrow_payload(bad), producer=who, sequence=2)
        with pytest.raises(Refused):
            client.execute("SELECT nothing FROM nowhere")
        assert client.rows("SELECT count(*) FROM seen") == [(2,)]
        client.execute("DROP TABLE IF EXISTS gone")
    status, text = get(server.http, "/metrics")
    assert status == 200
    return text


def test_all_that_is_exported_is_documented_and_the_other_way_round(exported):
    rows = documented()
    expected = {name for name, (_, _, meaning) in rows.items() if not meaning.startswith("with TLS")}
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", exported, re.MULTILINE))
    assert set(types) == expected
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", exported, re.MULTILINE))
    for name, kind in types.items():
        assert (kind, helps[name]) == (rows[name][0], rows[name][2]), name
    with_samples = set()
    for name, labels, _ in samples(exported):
        base = name if name in types else HISTOGRAM_PARTS.sub("", name)
        with_samples.add(base)
        assert sorted(labels.keys() - {"le"}) == sorted(rows[base][1]), name
    assert with_samples == expected


def test_rows_are_counted_by_table_and_outcome(exported):
    of_table = [(name, labels, value) for name, labels, value in samples(exported) if labels.get("table") == "public.seen"]
    rows = {labels["outcome"]: value for name, labels, value in of_table if name == "tidewater_ingest_rows_total"}
    assert rows == {"accepted": 2, "duplicate": 1, "repeated": 3, "rejected": 1}
    figures = {name: value for name, labels, value in of_table if labels == {"table": "public.seen"}}
    assert figures["tidewater_table_healthy"] == 1 and figures["tidewater_table_dedup_keys"] == 2
    assert 0 <= figures["tidewater_table_seal_lag_seconds"] < 3600 and figures["tidewater_ingest_bytes_total"] > 0
    assert any(name == "tidewater_ack_seconds_count" and value >= 2 for name, _, value in samples(exported))


def test_a_table_that_is_dropped_leaves_no_series(server):
    assert sql(server.http, "CREATE TABLE passing (a BIGINT)")[0] == 200
    assert 'table="public.passing"' in get(server.http, "/metrics")[1]
    assert sql(server.http, "DROP TABLE passing")[0] == 200
    assert 'table="public.passing"' not in get(server.http, "/metrics")[1]


def expressions() -> list[str]:
    dashboard = json.loads((GRAFANA / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    alerts = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("warning", "critical"), rule
            found.append(rule["expr"])
    return found


def test_dashboard_and_alerts_name_what_is_exported():
    rows, named = documented(), set()
    for expression in expressions():
        for name in METRIC.findall(expression):
            base = HISTOGRAM_PARTS.sub("", name) if name not in rows else name
            assert base in rows, f"{name} in {expression}"
            assert (name != base) == (rows[base][0] == "histogram"), f"{name} in {expression}"
            named.add(base)
        for labels in re.findall(r"((?:tidewater|process)_\w+)\{([^}]*)\}", expression):
            base = HISTOGRAM_PARTS.sub("", labels[0]) if labels[0] not in rows else labels[0]
            used = set(re.findall(r"(\w+)\s*=", labels[1])) - {"instance"}
            assert used <= set(rows[base][1]), f"{labels} in {expression}"
    assert len(named) > 25


def test_panels_do_not_lie_over_each_other():
    panels = json.loads((GRAFANA / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
