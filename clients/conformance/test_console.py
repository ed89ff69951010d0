"""What does somebody see who opens the server's address in a browser? The console, in a real Chromium, against a real server."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import urllib.request

import pyarrow as pa
import pytest
from playwright.sync_api import expect, sync_playwright

from harness import http
from harness.browser import Visit, cells, launch, run, violations
from harness.server import Server, binary
from harness.stubs import admin, admin_grpc

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FILES = {"/": "text/html", "/console.css": "text/css", "/console.js": "text/javascript", "/favicon.svg": "image/svg+xml"}
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 1\"><b>bold</b>"
PASSWORDS = {"admin": "correct horse", "rita": "battery staple"}
# Runs for hours, whatever the machine.
ENDLESS = "SELECT count(*) FROM big a CROSS JOIN big b CROSS JOIN big c CROSS JOIN big d WHERE a.id + b.id > c.id + d.id"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, request):
    visit = Visit(browser, **getattr(request, "param", {}))
    yield visit
    visit.close()
    assert visit.complaints == []


@pytest.fixture
def page(visit):
    return visit.page


def sql(server: Server, statement: str) -> dict:
    status, _, answer = http.sql(server.http, statement)
    assert status == 200, answer
    return answer


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A server with tables, of which one has names and values that nobody wants to be believed."""
    server = Server(tmp_path_factory.mktemp("console")).start()
    sql(server, "CREATE TABLE orders (id BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, item VARCHAR, PRIMARY KEY (id)) WITH (time_column = 'at')")
    sql(server, "INSERT INTO orders VALUES (1, now(), 'tea'), (2, now(), 'coffee'), (2, now(), 'again')")
    sql(server, 'CREATE TABLE "<b>x</b>" (id BIGINT NOT NULL, "<i>v</i>" VARCHAR, PRIMARY KEY (id))')
    text = HOSTILE.replace("'", "''")
    sql(server, f"INSERT INTO \"<b>x</b>\" VALUES (1, '{text}'), (2, ''), (3, NULL), (4, 'NULL')")
    sql(server, "CREATE TABLE big (id BIGINT NOT NULL, PRIMARY KEY (id))")
    sql(server, "INSERT INTO big SELECT value FROM generate_series(1, 5000)")
    yield server
    server.kill()


def visit_address(page, server: Server, fragment: str = ""):
    page.goto(f"http://{server.http}/{fragment}")


def look(page, server: Server, fragment: str = ""):
    """Until the tables are there."""
    visit_address(page, server, fragment)
    expect(page.locator("#tables tbody tr")).to_have_count(3)


def ask(server: Server, path: str, headers=()) -> tuple[int, dict, bytes]:
    return http._ask(urllib.request.Request(f"http://{server.http}{path}", headers=dict(headers)))


def test_files_have_rules_and_are_sent_once(full):
    for path, content_type in FILES.items():
        status, headers, body = ask(full, path)
        assert (status, headers["content-type"].split(";")[0]) == (200, content_type)
        assert body and headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        status, _, again = ask(full, path, {"If-None-Match": headers["etag"]})
        assert (status, again) == (304, b"")
    status, headers, body = ask(full, "/console.js", {"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip" and len(body) < 30_000 and b"// What does" in gzip.decompress(body)[:100]


def test_first_steps_work_as_they_are_shown(browser, tmp_path):
    """Each way to begin, on an empty server, copied from the page."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tidewater").symlink_to(binary())
    (tools / "python3").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "no_proxy": "*"}
    shells = {"Command line": ["bash", "-euc"], "curl": ["bash", "-euc"], "Python": [sys.executable, "-c"]}
    for way, shell in shells.items():
        server = Server(tmp_path / way).start()
        visit = Visit(browser)
        try:
            visit_address(visit.page, server)
            expect(visit.page.locator("#sentence-text")).to_have_text("Healthy. No table yet.")
            visit.page.get_by_role("tab", name=way).click()
            for text in visit.page.locator("#step-panel pre").all_text_contents():
                # What has a file's name to be filled in, and what would install packages, is for the reader.
                if "FILE" in text or text.startswith("pip "):
                    continue
                done = subprocess.run([*shell, text], env=environment, capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, (text, done.stderr)
                last = done.stdout
            assert "first" in last, last
            expect(visit.page.locator("#first-steps")).to_be_hidden()
            expect(visit.page.locator("#tables tbody tr")).to_have_count(1)
            assert visit.complaints == []
        finally:
            visit.close()
            server.kill()


def test_what_is_there_is_shown(page, full):
    look(page, full)
    expect(page.locator("#access")).to_have_text("Access off: everyone on this machine is admin")
    expect(page.locator("#sentence-text")).to_contain_text(re.compile(r"^Healthy\. 3 tables, .*\.$"))
    row = page.locator("#tables tbody tr", has_text="orders")
    assert row.locator("td").all_text_contents()[0] == "ok"
    assert row.locator("td").nth(2).text_content() == "2"
    assert row.locator("td").all_text_contents()[-2:] == ["id", "at"]
    for tile in ["rows", "duplicates", "rejected", "running", "memory"]:
        expect(page.locator(f"[data-tile={tile}] .value")).not_to_have_text(re.compile("^–"))
    # The page's own statements are not counted.
    assert page.locator("[data-tile=running] .value").text_content() == "0"
    expect(page.locator("#events li").first).to_be_visible()
    row.locator("a").click()
    drawer = page.locator("#drawer")
    expect(drawer.locator("h2")).to_have_text("public.orders")
    expect(drawer).to_contain_text("TIMESTAMPTZ")
    expect(drawer.locator(".facts.mono")).to_contain_text("dedup_window")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page).not_to_have_url(re.compile("table="))


def test_figures_follow_what_comes_in(browser, tmp_path):
    server = Server(tmp_path / "server").start()
    visit = Visit(browser)
    page = visit.page
    try:
        sql(server, "CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))")
        visit_address(page, server)
        expect(page.locator("#sentence-text")).to_have_text("Healthy. 1 table, no rows coming in.")
        sql(server, "INSERT INTO t SELECT value FROM generate_series(1, 3000)")
        sql(server, "INSERT INTO t SELECT value FROM generate_series(2001, 4000)")
        expect(page.locator("#tables td").nth(2)).to_have_text("4,000")
        expect(page.locator("#sentence-text")).to_have_text(re.compile(r"^Healthy\. 1 table, [\d,.]+ rows/s in, last write [\d.]+ s ago\.$"))
        expect(page.locator("[data-tile=rows] .sub")).to_have_text(re.compile(r"^peak [\d,.]+$"))
        # Of 5,000 rows 1,000 were there.
        expect(page.locator("[data-tile=duplicates] .sub")).to_contain_text("20.0 % of the rows")
        assert page.locator("[data-tile=rows] .line").get_attribute("d").startswith("M")
        assert visit.complaints == []
    finally:
        visit.close()
        server.kill()


def test_values_are_text(page, full):
    look(page, full)
    run(page, 'SELECT id, "<i>v</i>", 1.5 AS d, [1, 2] AS l FROM "<b>x</b>" ORDER BY id')
    expect(page.locator("#answer tbody tr")).to_have_count(4)
    assert [row[1] for row in cells(page)] == [HOSTILE, "", "NULL", "NULL"]
    assert cells(page)[0][2:] == ["1.5", "[1,2]"]
    heads = page.locator("#answer thead th").all_text_contents()
    assert heads == ["#", "idBIGINT", "<i>v</i>VARCHAR", "dDOUBLE", "lBIGINT[]"]
    # NULL is not the text, nor an empty one.
    assert page.locator("#answer tbody .null").count() == 1
    align = "cells => cells.map(cell => getComputedStyle(cell).textAlign)"
    assert page.eval_on_selector_all("#answer tbody tr:first-child td", align) == ["right", "left", "right", "left"]
    page.get_by_role("button", name="Row 1, show it whole").click()
    expect(page.locator("#drawer dd").nth(1)).to_have_text(HOSTILE)
    page.keyboard.press("Escape")
    page.locator("#tables a", has_text="<b>x</b>").click()
    expect(page.locator("#drawer h2")).to_have_text("public.<b>x</b>")
    expect(page.locator("#drawer")).to_contain_text("<i>v</i>")
    assert page.locator("#drawer h2 b, #drawer i, #answer b, #answer img, #answer script").count() == 0
    assert page.evaluate("window.hacked") is None


def test_examples_run(page, full):
    """All of them, for every table."""
    look(page, full)
    tables = page.locator("#example-table option").all_text_contents()
    assert len(tables) == 3
    for table in tables:
        page.select_option("#example-table", label=table)
        expect(page.locator("#example-list button").first).to_be_visible()
        for name in page.locator("#example-list button").all_text_contents():
            page.locator("#example-list").get_by_role("button", name=name, exact=True).click()
            assert table in page.input_value("#sql").replace('"', "")
            page.click("#run")
            expect(page.locator("#run-note")).to_have_text(re.compile(r" ms| s"))
            expect(page.locator("#run-note")).not_to_contain_text("Running")
            assert page.locator("#sql-problem").is_hidden(), page.locator("#sql-problem").text_content()


def test_by_keyboard_alone(page, full):
    look(page, full)
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#sql")).to_be_focused()
    page.keyboard.type("SELECT 1 AS one")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer tbody td")).to_have_text("1")
    head = page.get_by_role("button", name="Realtime")
    head.focus()
    page.keyboard.press("Enter")
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    expect(page.locator("#tables tbody th").first).to_have_text("big")
    page.keyboard.press("Enter")
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    page.locator("#tables a").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer h2")).to_have_text("public.big")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#tables a").last).to_be_focused()


def test_escape_cancels_the_query(page, full):
    look(page, full)
    run(page, ENDLESS)
    expect(page.locator("#run-note")).to_contain_text("Running")
    # The page's own figures tell it, so the server runs it.
    expect(page.locator("[data-tile=running] .value")).to_have_text("1")
    page.keyboard.press("Escape")
    expect(page.locator("#run-note")).to_have_text("Canceled")
    expect(page.locator("[data-tile=running] .value")).to_have_text("0")
    answer = sql(full, f"SELECT state FROM system.queries WHERE sql LIKE '{ENDLESS[:60]}%'")
    assert answer["rows"] == [["cancelled"]]
    expect(page.locator("#cancel")).to_be_disabled()


def test_errors_say_what_to_do(page, full):
    look(page, full)
    run(page, "SELECT nothing FROM orders")
    expect(page.locator("#sql-problem")).to_contain_text("COLUMN_NOT_FOUND")
    expect(page.locator("#sql-problem .hint")).to_contain_text("item")
    run(page, "SELECT 1\nFRM orders")
    expect(page.locator("#sql-problem")).to_contain_text("SYNTAX_ERROR")
    # The cursor stands where it is wrong.
    assert page.evaluate("document.getElementById('sql').selectionStart") >= len("SELECT 1\n")
    run(page, "DELETE FROM orders WHERE id > 100")
    expect(page.locator("#run-note")).to_contain_text("ms")
    assert page.locator("#downloads").is_hidden(), "a change is not run once more to be saved"


def test_thousand_rows_are_shown_and_all_are_saved(page, full):
    look(page, full)
    run(page, "SELECT id FROM big ORDER BY id")
    expect(page.locator("#sql-notice")).to_contain_text("Only the first 1,000 rows are shown")
    assert [row[0] for row in cells(page)] == [str(n) for n in range(1, 1001)]
    read = {
        "CSV": lambda raw: [int(line) for line in raw.decode().split()[1:]],
        "JSON": lambda raw: [row[0] for row in json.loads(raw)["rows"]],
        "Arrow": lambda raw: pa.ipc.open_stream(raw).read_all().column("id").to_pylist(),
    }
    for name, values in read.items():
        with page.expect_download() as saved:
            page.locator("#downloads").get_by_role("button", name=name).click()
        assert values(saved.value.path().read_bytes()) == list(range(1, 5001)), name
    run(page, "SELECT id FROM big ORDER BY id LIMIT 1000")
    expect(page.locator("#run-note")).to_contain_text("1,000 rows")
    expect(page.locator("#sql-notice")).to_be_hidden()


def test_the_address_holds_what_is_seen(page, full):
    look(page, full, "#sort=name-desc&sql=CREATE+TABLE+by_link+(id+BIGINT)")
    assert page.input_value("#sql") == "CREATE TABLE by_link (id BIGINT)"
    expect(page.locator("#tables tbody th").first).to_have_text("orders")
    run(page, "SELECT 42 AS answer")
    expect(page.locator("#answer tbody td")).to_have_text("42")
    page.reload()
    expect(page.locator("#tables tbody tr")).to_have_count(3)
    assert page.input_value("#sql") == "SELECT 42 AS answer"
    # A link runs nothing, whatever it says.
    assert page.locator("#answer").is_hidden()
    assert sql(full, "SELECT count(*) FROM system.tables WHERE name = 'by_link'")["rows"] == [[0]]
    page.locator("#tables a", has_text="orders").click()
    expect(page.locator("#drawer")).to_be_visible()
    page.go_back()
    expect(page.locator("#drawer")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#drawer h2")).to_have_text("public.orders")


def test_nobody_looks_nobody_asks(page, full):
    page.clock.install()
    asked = []
    look(page, full)
    page.on("request", lambda request: asked.append(request.url))
    hide = "state => { Object.defineProperty(document, 'hidden', { value: state, configurable: true }); document.dispatchEvent(new Event('visibilitychange')) }"
    with page.expect_request("**/readyz"):
        page.clock.run_for(3_000)
    page.wait_for_load_state("networkidle")
    page.evaluate(hide, True)
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request("**/api/v1/sql"):
        page.evaluate(hide, False)


def test_trouble_is_told_with_what_to_do(browser, tmp_path):
    server = Server(tmp_path / "server").start()
    visit = Visit(browser)
    page = visit.page
    try:
        visit_address(page, server)
        expect(page.locator("#sentence-text")).to_have_text("Healthy. No table yet.")
        page.route("**/readyz", lambda route: route.fulfill(status=503, body="ingest: the disk is full (TW-1303)\n"))
        expect(page.locator("#sentence-text")).to_have_text("1 problem. No table yet.")
        expect(page.locator("#problems li")).to_contain_text("Ingest: the disk is full (TW-1303)No rows are taken until this is mended")
        expect(page.locator("#announce")).to_have_text("Ingest: the disk is full (TW-1303)")
        page.unroute("**/readyz")
        expect(page.locator("#sentence-text")).to_have_text("Healthy. No table yet.")
        server.stop()
        expect(page.locator("#sentence-text")).to_have_text("The server cannot be reached.")
        server.start()
        expect(page.locator("#sentence-text")).to_have_text("Healthy. No table yet.")
        assert visit.complaints == []
    finally:
        visit.close()
        server.kill()


LOOKS = [{"scheme": "light"}, {"scheme": "dark"}, {"scheme": "light", "width": 360, "height": 740}]


@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=["light", "dark", "narrow"])
def test_everybody_can_use_it(page, full):
    look(page, full)
    run(page, "SELECT id, item, NULL AS nothing FROM orders")
    expect(page.locator("#answer tbody tr")).to_have_count(2)
    expect(page.locator("#events li").first).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    run(page, "SELECT id FROM big; SELECT")
    expect(page.locator("#sql-problem")).to_be_visible()
    assert violations(page) == []
    page.locator("#tables a", has_text="orders").click()
    expect(page.locator("#drawer .facts.mono")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=["light", "dark", "narrow"])
def test_everybody_can_begin(page, server):
    visit_address(page, server)
    expect(page.get_by_role("tab", selected=True)).to_have_text("Command line")
    assert violations(page) == []
    page.get_by_role("tab", name="Command line").press("ArrowRight")
    expect(page.get_by_role("tab", selected=True)).to_have_text("curl")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with access control, an admin, and a reader of one table."""
    server = Server(tmp_path_factory.mktemp("guarded"), settings={"auth": "on"}).start()
    server.wait_for_log("setup http://")
    (code,) = re.findall(r"^setup http://\S+/setup\?code=(\S+)$", server.log.read_text(), re.MULTILINE)
    body = json.dumps({"code": code, "name": "admin", "password": PASSWORDS["admin"]}).encode()
    request = urllib.request.Request(f"http://{server.http}/api/v1/setup", body, {"Content-Type": "application/json"})
    assert http._ask(request)[0] == 201
    yield server
    server.kill()


def sign_in(page, name: str, password: str):
    page.fill("#user", name)
    page.fill("#password", password)
    page.keyboard.press("Enter")


def test_signing_in_and_out(visit, guarded):
    page = visit.page
    visit_address(page, guarded)
    expect(page.locator("#access")).to_have_text("Access on: sign in")
    expect(page.locator("#user")).to_be_focused()
    assert violations(page) == []
    sign_in(page, "admin", "wrong")
    expect(page.locator("#sign-in-problem")).to_contain_text("The name or the password is wrong")
    sign_in(page, "admin", PASSWORDS["admin"])
    expect(page.locator("#access")).to_have_text("Signed in as admin (admin)")
    expect(page.locator("#sentence-text")).to_have_text("Healthy. No table yet.")
    run(page, "SELECT 7 AS seven")
    expect(page.locator("#answer tbody td")).to_have_text("7")
    kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    assert PASSWORDS["admin"] not in kept and page.input_value("#password") == ""
    (token,) = json.loads(kept)[0].values()
    headers = {"Authorization": f"Bearer {token}"}
    assert ask(guarded, "/metrics", headers)[0] == 200

    page.reload()
    expect(page.locator("#access")).to_have_text("Signed in as admin (admin)")
    with page.expect_response("**/api/v1/session") as ended:
        page.click("#sign-out")
    assert ended.value.status == 204
    expect(page.locator("#sign-in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0 and "seven" not in page.url
    # The bearer is of no use to whoever may have it.
    assert ask(guarded, "/metrics", headers)[0] == 401


def test_others_see_what_is_theirs(visit, guarded):
    page = visit.page
    visit_address(page, guarded)
    sign_in(page, "admin", PASSWORDS["admin"])
    expect(page.locator("#sentence-text")).to_contain_text("Healthy.")
    for statement in ["CREATE TABLE shop.orders (id BIGINT)", "CREATE TABLE secret (id BIGINT)"]:
        run(page, statement)
        expect(page.locator("#run-note")).to_contain_text("ms")
    expect(page.locator("#tables tbody tr")).to_have_count(2)
    page.click("#sign-out")
    basic = base64.b64encode(f"admin:{PASSWORDS['admin']}".encode()).decode()
    reader = admin.CreateUserRequest(name="rita", password=PASSWORDS["rita"], grants=[admin.Grant(role="ROLE_READER", tables="shop.*")])
    with guarded.channel() as channel:
        admin_grpc.AdminStub(channel).CreateUser(reader, metadata=[("authorization", f"Basic {basic}")])
    sign_in(page, "rita", PASSWORDS["rita"])
    expect(page.locator("#access")).to_contain_text("Signed in as rita (not an admin")
    expect(page.locator("#tables tbody th")).to_have_text(["shop.orders"])
    expect(page.locator("#tiles li")).to_have_count(2)
    assert page.locator("#events-card").is_hidden()
    assert "secret" not in page.content()
