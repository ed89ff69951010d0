"""How does a test look at the console? A real Chromium, whose complaints are collected."""

import importlib.resources
import os
import shutil

from playwright.sync_api import Browser, Page, Playwright, expect

# A debug build answers slowly beside other tests.
TIMEOUT_MS = 30_000
NAMES = ["chromium", "chromium-browser", "google-chrome"]

expect.set_options(timeout=TIMEOUT_MS)


def launch(playwright: Playwright) -> Browser:
    """The browser that `browser.sh` prints. There is no test of the console without one, so that fails."""
    path = os.environ.get("TIDEWATER_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "there is no Chromium: set TIDEWATER_BROWSER to what clients/conformance/browser.sh prints"
    return playwright.chromium.launch(executable_path=path)


class Visit:
    """A page of a browser that remembers nothing of earlier ones."""

    def __init__(self, browser: Browser, *, scheme: str = "light", width: int = 1280, height: int = 900):
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height}, accept_downloads=True)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page = self.context.new_page()
        # What went wrong in the script, and what the policy of the page kept from being loaded or run.
        self.complaints = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message):
        # An answer that is an error is no fault of the page.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def close(self):
        self.context.close()


def violations(page: Page) -> list[str]:
    """What keeps people from using the page as it is now, as axe finds it."""
    axe = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    # Not by a script element: the page's policy forbids all but its own.
    page.evaluate(f"() => {{ {axe} }}")
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10, "axe has looked at nothing"
    return [
        f"{rule['id']}: {rule['help']}: {node['target']} {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]
    ]


def run(page: Page, sql: str):
    """Types a statement and runs it by the keyboard."""
    page.fill("#sql", sql)
    page.press("#sql", "Control+Enter")


def cells(page: Page) -> list[list[str]]:
    """The rows of the answer that the page shows, without their numbers."""
    return page.eval_on_selector_all("#answer tbody tr", "rows => rows.map(row => [...row.cells].slice(1).map(cell => cell.textContent))")
