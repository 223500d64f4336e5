"""A real browser: a Chromium of this system, without a window."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--host-resolver-rules=MAP example.test 127.0.0.1",)
"""A host that the browser knows to be no loopback, and finds here nevertheless."""
TIMEOUT_MS = 20_000
PASSWORD = "wonderland"
SHOWN = """([selector, timeout]) => new Promise((done, fail) => {
    const end = Date.now() + timeout;
    const look = () => {
        if (document.querySelector(selector)?.checkVisibility()) done();
        else if (Date.now() > end) fail(new Error(`no ${selector} is shown`));
        else setTimeout(look, 5);
    };
    look();
})"""
REFUSAL = re.compile(r"Failed to load resource: .* status of 4(0[0134]|29) ")
"""What the console says of an answer that the page expects."""


def find_chromium() -> str:
    """A Chromium; the test is skipped where there is none."""
    named = os.environ.get("CHROMIUM")
    for name in [named] if named else CHROMIUMS:
        if found := shutil.which(name):
            return found
    if named:
        raise FileNotFoundError(f"$CHROMIUM is {named!r}: no such program")
    pytest.skip("no chromium; apt-get install chromium")


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run a browser; skip where it or Playwright, which steers it, is missing."""
    reason = "no playwright; pip install playwright"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    path = find_chromium()
    with playwright.sync_playwright() as started:
        # Playwright passes --no-sandbox, without which root cannot start it.
        browser = started.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


class Visitor:
    """A browser profile of its own: cookies, tabs, and what a console complained of."""

    def __init__(self, browser: Browser, site: str, **options: Any) -> None:
        self.site = site
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            reduced_motion="reduce", **options
        )
        self.context.set_default_timeout(TIMEOUT_MS)
        self.context.on("console", self._hear)
        self.context.on(
            "weberror", lambda told: self.complaints.append(f"{told.error}")
        )

    def _hear(self, told: ConsoleMessage) -> None:
        is_ours = told.page is not None and told.page.url.startswith(self.site)
        is_bad = told.type in ("error", "warning") and not REFUSAL.match(told.text)
        if is_ours and is_bad:
            self.complaints.append(told.text)

    def log_in(self, name: str, tab: Page | None = None) -> Page:
        """The page of *name*; the form is spared."""
        sent = {"name": name, "password": PASSWORD}
        assert self.context.request.post(f"{self.site}/login", data=sent).ok
        opened = self.open(tab)
        until_shown(opened, "#dot.on")
        return opened

    def open(self, tab: Page | None = None) -> Page:
        """The page, in a new tab or in *tab*."""
        tab = tab or self.context.new_page()
        tab.goto(f"{self.site}/")
        return tab

    @property
    def cookies(self) -> dict[str, str]:
        stored = self.context.cookies(f"{self.site}/session")
        return {cookie["name"]: cookie["value"] for cookie in stored}


def until_shown(tab: Page, selector: str, timeout_ms: float = TIMEOUT_MS) -> None:
    """Wait for an element.  Playwright looks only twice a second, after a while."""
    tab.evaluate(SHOWN, [selector, timeout_ms])


def fill_in(tab: Page, name: str, password: str = PASSWORD) -> None:
    """Log in by the form."""
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(password)
    tab.get_by_label("Password").press("Enter")


@contextmanager
def foreign_page(html: str) -> Iterator[int]:
    """Serve a page of somebody else, and yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f"<!doctype html>{html}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
