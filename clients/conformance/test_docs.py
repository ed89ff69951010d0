"""Does the documentation hold? Every command, query and program of every page is run, in order, as a reader would; types and links are looked up."""

import itertools
import json
import pathlib
import re
import shutil
import tomllib

import pytest

from harness.client import Client
from harness.pages import CHECKED, DOCS, ROOT, RUN, SHOWN, Block, Reader, blocks, is_like

CONFORMANCE = pathlib.Path(__file__).parent
CLIENTS = DOCS / "clients.md"
PAGES = [ROOT / "README.md", ROOT / "clients/python/README.md", *sorted(DOCS.glob("*.md"))]

# What cannot be run here, by page and reason. A block is not run if a comment `<!-- not run: reason -->` stands above it.
NOT_RUN = {
    ("cli.md", "the demo takes half a minute and its own test"),
    ("cli.md", "needs the folder of another server"),
    ("operate.md", "needs root"),
    ("operate.md", "needs the folder of another server"),
    ("operate.md", "needs credentials of a bucket"),
    ("troubleshoot.md", "needs a damaged table"),
}

# What a page takes for granted: files (name: text) and statements.
TABLE_T = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR); INSERT INTO t VALUES (1, 'a'), (2, NULL), (3, 'c')"
EVENTS = "server/fixtures/git_events_sample.parquet"
CREATE_EVENTS = f"tidewater ingest git_events {EVENTS} --create --key event_id --time authored_at --sort repo,authored_at"
PREPARED = {
    "cli.md": [f"cp {EVENTS} git_events.parquet", CREATE_EVENTS, f'tidewater sql -c "{TABLE_T}"', "echo 'SELECT count(*) AS n FROM t' >report.sql"],
    "http.md": [
        f'tidewater sql -c "{TABLE_T}; CREATE TABLE events (id BIGINT PRIMARY KEY, v BIGINT); CREATE TABLE sales.orders (id BIGINT)"',
        "printf 'id,v\\n1,1\\nx,2\\n' >events.csv",
        "python -c \"import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'id': [3], 'v': [4]}), 'events.parquet')\"",
        "python -c \"import pyarrow as pa; pa.CompressedOutputStream('orders.ndjson.zst', 'zstd').write(b'{\\\"id\\\": 1}\\n')\"",
    ],
}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_what_stands_there_works(page, tmp_path):
    if missing := [program for program in ("curl", "openssl") if shutil.which(program) is None and f"\n{program} " in page.read_text()]:
        pytest.skip(f"NOT CHECKED: there is no {' and no '.join(missing)}")
    wrong, printed, before = [], "", None
    with Reader(tmp_path) as reader:
        for line in PREPARED.get(page.name, []):
            reader.shell(line + "\n")
        for block in blocks(page):
            try:
                if block.is_output:
                    if before and not is_like(block.text, printed):
                        wrong.append(f"{before.place} prints:\n{printed}\nand not:\n{block.text}")
                elif block.language not in SHOWN and not block.reason:
                    printed, before = reader.run(block), block
            except (AssertionError, ValueError) as error:
                wrong.append(f"{block.place} ({block.language}): {error}")
                before = None
    if wrong:
        pytest.fail(f"{len(wrong)} blocks:\n" + "\n\n".join(wrong), pytrace=False)


def test_every_block_says_what_it_is(capsys):
    found: list[Block] = [block for page in PAGES for block in blocks(page)]
    strange = [f"{block.place} '{block.language}'" for block in found if block.language not in RUN + CHECKED + SHOWN]
    assert not strange, f"use one of {RUN + CHECKED + SHOWN}: {strange}"
    left_out = [block for block in found if block.reason]
    with capsys.disabled():
        n_run = sum(block.language in RUN and not block.reason for block in found)
        print(f"\n{n_run} blocks of {len(PAGES)} pages are run, {len(left_out)} are not:")
        for block in left_out:
            print(f"  {block.place}: {block.reason}")
    assert {(block.page, block.reason) for block in left_out} == NOT_RUN


def anchors(path) -> set[str]:
    """What links may name behind #, as GitHub makes it from headings."""
    out, in_block = set(), False
    for line in path.read_text().splitlines():
        in_block ^= line.startswith("```")
        if not in_block and (heading := re.fullmatch(r"#+ (.+)", line)):
            out.add(re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-"))
    return out


def test_links_lead_somewhere():
    wrong = []
    for page in [*PAGES, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("clients/examples/**/*.md")), *ROOT.glob("SECURITY.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            name, _, anchor = target.partition("#")
            if re.match(r"https?:|mailto:", target):
                continue
            path = (page.parent / name).resolve() if name else page
            if not path.exists():
                wrong.append(f"{page.name}: there is no {name}")
            elif anchor and anchor not in anchors(path):
                wrong.append(f"{page.name}: there is no heading {target}")
    assert not wrong, wrong


def test_the_index_has_every_page():
    index = (DOCS / "README.md").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"]({page.name})" not in index]
    assert not missing, missing


def test_the_readme_connects_as_the_recipes_do():
    """The short forms of README.md stand in recipes of the page of clients, which are run."""
    _, _, rest = (ROOT / "README.md").read_text().partition("## Connect your tools")
    short = {form.rstrip(")") for form in re.findall(r"`([^`\n]*8815[^`\n]*)`", rest.partition("\n## ")[0])}
    recipes = [block.text for block in blocks(CLIENTS) if not block.reason]
    missing = [form for form in short if not any(form in recipe for recipe in recipes)]
    assert len(short) >= 7 and not missing, missing


def pins(name: str) -> dict[str, str]:
    lines = (CONFORMANCE / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_versions_are_those_that_are_tried():
    own, dbapi, superset = pins("requirements.txt"), pins("requirements-dbapi.txt"), pins("requirements-superset.txt")
    node = json.loads((CONFORMANCE / "javascript/package.json").read_text())["dependencies"]
    go = dict(re.findall(r"(github.com/apache/arrow-go/\S+) (\S+)", (CONFORMANCE / "go/go.mod").read_text()))
    (jdbc,) = re.findall(r"^versions=\((.+)\)$", (CONFORMANCE / "jdbc.sh").read_text(), re.MULTILINE)
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    (grafana,) = re.findall(r"influxdata-flightsql-datasource, as (\S+) asks", (CONFORMANCE / "test_go.py").read_text())
    tried = {
        client["name"]: f"{client['version']}, with Python {client['requires-python'].removeprefix('>=')}",
        **{name: own[name] for name in ("adbc-driver-flightsql", "pandas", "polars", "pyarrow")},
        "SQLAlchemy": f"{dbapi['SQLAlchemy']}, {own['SQLAlchemy']}",
        "apache-superset": superset["apache-superset"],
        "flightsql-dbapi": dbapi["flightsql-dbapi"],
        "org.apache.arrow:flight-sql-jdbc-driver": f"{jdbc.replace(' ', ', ')}, the newest",
        "influxdata-flightsql-datasource": f"{grafana}, as it asks",
        **go,
        **{name: node[name] for name in ("@gizmodata/gizmosql-client", "@lancedb/arrow-flight-sql-client")},
    }
    assert {name: versions for name, versions in table_rows(CLIENTS, "| client | versions |")} == tried


def table_rows(path, header: str) -> list[list[str]]:
    _, _, rest = path.read_text().partition(header)
    assert rest, f"{path.name} has no table {header}"
    rows = itertools.takewhile(lambda line: line.startswith("|"), rest.splitlines()[2:])
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


def test_types_are_what_the_page_says(server):
    """Each SQL type of types.md, as `system.columns` has it."""
    rows = table_rows(DOCS / "types.md", "| SQL | Arrow | Parquet | Delta |")
    columns = {f"c{i}": row for i, row in enumerate(rows)}
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE of_every_type (" + ", ".join(f"{name} {row[0]}" for name, row in columns.items()) + ")")
        known = client.rows(
            "SELECT c.name, c.sql_type, c.arrow_type, c.delta_type FROM system.columns c JOIN system.tables t ON t.id = c.table_id"
            " WHERE t.name = 'of_every_type' ORDER BY position"
        )
    assert [(name, row[0], row[1], row[3]) for name, row in columns.items()] == known
