"""The page of the Starlette example, in a real browser."""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from itertools import dropwhile, pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from .browser import (
    PASSWORD,
    Visitor,
    browsing,
    fill_in,
    find_chromium,
    foreign_page,
    until_shown,
)
from .servers import fetch, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response, Route

APP = ("uvicorn", "examples.starlette_app:app", "--fd={fd}")
ACCESS, REFRESH = "__Host-access", "__Secure-refresh"
LIFETIME_S = 60
SHORT_S = 4
"""Of a token that ends while a test waits for it."""
REFRESH_S = 8 * 60 * 60
SOON_MS = 5_000
"""At once, on a busy machine; far sooner than a token ends."""
ENDED = "Your session has ended, here or elsewhere. Please log in again."
STOPS = [
    "Log out",
    "Log out everywhere",
    "Who am I? GET /me",
    "List users GET /admin/users",
    "Set password POST /password",
    "Open a second tab ↗",
]

FOCUSED = """() => {
    const at = document.activeElement;
    return [at.id || at.innerText.replace(/\\s+/g, " "), at.matches(":focus-visible")
        && getComputedStyle(at).outlineStyle !== "none"];
}"""
"""What has the focus, and whether that is seen."""

RECORD = """
    window.seen = [];
    addEventListener("DOMContentLoaded", () => {
        const shown = document.getElementById("seconds");
        const record = () => seen.push(Number(shown.textContent));
        new MutationObserver(record).observe(shown, { childList: true });
    });
"""
"""Remember the seconds that are shown, from the first on."""

CONTRASTS = """() => {
    const luminance = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map((c) => c / 255)
            .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (at) => {
        const color = at ? getComputedStyle(at).backgroundColor : "rgb(255, 255, 255)";
        return color === "rgba(0, 0, 0, 0)" ? ground(at.parentElement) : color;
    };
    const shown = [...document.querySelectorAll("body *")].filter((at) =>
        at.checkVisibility() && [...at.childNodes].some(
            (node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return shown.map((at) => {
        const pair = [getComputedStyle(at).color, ground(at)].map(luminance);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        return [at.innerText, Math.round(ratio * 100) / 100];
    });
}"""
"""Every text that is shown, and its contrast (WCAG 2.2, 1.4.3)."""

WIDTHS = {"narrow": 360, "wide": 1280}

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def served(lifetime: int) -> Iterator[int]:
    with serving(*APP, environment={"ACCESS_LIFETIME": str(lifetime)}) as port:
        assert fetch(port, "/")[0] == 200
        yield port


@pytest.fixture(scope="module")
def port(browser: Browser) -> Iterator[int]:
    """The example; the browser is asked for first, for it may be missing."""
    yield from served(LIFETIME_S)


@pytest.fixture(scope="module")
def short_port(browser: Browser) -> Iterator[int]:
    """The example, with tokens of which the end is seen."""
    yield from served(SHORT_S)


@pytest.fixture
def visit(browser: Browser, port: int) -> Iterator[Visit]:
    """Makes visitors.  In the end, no console may have complained."""
    visitors: list[Visitor] = []

    def visit(site: str = f"http://localhost:{port}", **options: Any) -> Visitor:
        visitors.append(Visitor(browser, site, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.complaints for visitor in visitors] == [[]] * len(visitors)


def is_logged_in(tab: Page) -> bool:
    until_shown(tab, "#dot.on")
    return tab.locator("#login").is_hidden()


def is_logged_out(tab: Page, notice: str) -> bool:
    """At once, and with *notice*; the page hides what it showed."""
    until_shown(tab, "#login", SOON_MS)
    assert tab.locator("#account").is_hidden()
    return tab.locator("#notice").inner_text() == notice


def click(tab: Page, name: str) -> None:
    tab.bring_to_front()  # one that lies behind is drawn once a second
    tab.get_by_role("button", name=name).first.click()


def press(tab: Page, name: str, path: str) -> Response:
    """Press the button, and see what *path* answers; the page shows it too."""
    with tab.expect_response(f"**{path}") as answered:
        click(tab, name)
    response = answered.value
    words = (str(response.status), response.request.method, re.escape(path))
    shown = re.compile(r"^\s*" + r"\s*".join(words))
    tab.locator("#log li", has_text=shown).first.wait_for()
    return response


def until_held(held: list[Route], number: int, tab: Page) -> None:
    """Playwright tells of a request before it hands it over."""
    while len(held) < number:
        tab.evaluate("0")


def rows(tab: Page) -> list[str]:
    return tab.locator("#log li").all_inner_texts()


def focused(tab: Page) -> tuple[str, bool]:
    name, is_seen = tab.evaluate(FOCUSED)
    return name, is_seen


def test_one_logs_in_and_out_by_keyboard_alone(visit: Visit) -> None:
    tab = visit().open()
    until_shown(tab, "#login")
    assert focused(tab) == ("name", True)
    tab.keyboard.type("alice")
    tab.keyboard.press("Tab")
    assert focused(tab) == ("password", True)
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    assert is_logged_in(tab)
    assert tab.locator("#user").inner_text() == "alice"
    assert tab.locator("#scopes li").all_inner_texts() == ["admin", "read"]
    assert focused(tab)[0] == "user"  # the heading, from where a reader goes on
    stops = []
    for _ in STOPS:
        tab.keyboard.press("Tab")
        stops.append(focused(tab))
    assert [is_seen for _, is_seen in stops] == [True] * len(STOPS)
    assert [name for name, _ in stops][2:] == STOPS[2:]
    for _ in STOPS[1:]:
        tab.keyboard.press("Shift+Tab")
    assert focused(tab)[0] == "logout"
    tab.keyboard.press("Enter")
    assert is_logged_out(tab, "You have logged out.")
    assert focused(tab) == ("name", True)
    assert rows(tab)[0].split()[:3] == ["204", "POST", "/session/end"]


def test_a_wrong_password_is_told_beside_the_form(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open()
    fill_in(tab, "alice", "<b>wrong</b>")
    until_shown(tab, "#wrong")
    assert tab.locator("#wrong").inner_text().lower() == "wrong name or password"
    assert focused(tab) == ("password", True)
    assert visitor.cookies == {}
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    assert is_logged_in(tab)
    assert tab.locator("#wrong").is_hidden()


def test_too_many_wrong_passwords_are_told_beside_the_form(visit: Visit) -> None:
    tab = visit().open()
    for _ in range(6):
        with tab.expect_response("**/login") as answer:
            fill_in(tab, "mallory", "wrong")
    assert answer.value.status == 429
    told = "Too many wrong logins. Try again later."
    tab.locator("#wrong", has_text=told).wait_for()


def test_the_browser_keeps_both_cookies_and_shows_no_script_any(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open()
    fill_in(tab, "alice")
    assert is_logged_in(tab)
    stored = {cookie["name"]: cookie for cookie in visitor.context.cookies()}
    expected = {ACCESS: ("/", LIFETIME_S), REFRESH: ("/session", REFRESH_S)}
    assert stored.keys() == expected.keys()
    for name, (path, lifetime) in expected.items():
        cookie = stored[name]
        assert (cookie["domain"], cookie["path"]) == ("localhost", path)
        assert (cookie["secure"], cookie["httpOnly"]) == (True, True)
        assert cookie["sameSite"] == "Strict"
        assert cookie["expires"] == pytest.approx(time.time() + lifetime, abs=30)
    assert tab.evaluate("document.cookie") == ""
    assert tab.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


def test_a_token_runs_down_and_is_renewed_and_so_is_the_websocket(
    visit: Visit, short_port: int
) -> None:
    visitor = visit(f"http://localhost:{short_port}")
    handshakes: list[str] = []
    visitor.context.on(
        "page", lambda tab: tab.on("websocket", lambda ws: handshakes.append(ws.url))
    )
    visitor.context.add_init_script(RECORD)
    tab = visitor.log_in("bob")
    before = visitor.cookies
    tab.locator("#renewals", has_text=re.compile("[1-9]")).wait_for()
    seen = dropwhile(lambda seconds: seconds == 0, tab.evaluate("seen"))
    steps = [later - sooner for sooner, later in pairwise(seen)]
    assert set(steps) >= {0, -1}
    assert max(steps) >= 2
    assert not any(row.startswith("401") for row in rows(tab))  # it was before the end
    assert ":" in tab.locator("#renewed").inner_text()
    after = visitor.cookies
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert press(tab, "Who am I?", "/me").status == 200
    if len(handshakes) == 1:
        with tab.expect_websocket():  # the first falls with its token
            pass
    assert is_logged_in(tab)
    assert tab.locator("#socket").inner_text() == "open: “hello, bob”"


def test_the_api_answers_and_refuses_with_the_reason(visit: Visit) -> None:
    tab = visit().log_in("bob")
    assert press(tab, "Who am I?", "/me").json()["user"] == "bob"
    assert press(tab, "Set password", "/password").json() == {"changed": False}
    refused = press(tab, "List users", "/admin/users")
    assert refused.status == 403
    assert refused.json()["error_description"] in rows(tab)[0]
    assert is_logged_in(tab)


def test_a_second_tab_is_logged_in_and_loses_what_the_first_ends(visit: Visit) -> None:
    visitor = visit()
    first = visitor.log_in("alice")
    users = press(first, "List users", "/admin/users")
    assert users.json() == {"users": ["alice", "bob"]}
    with visitor.context.expect_page() as opened:
        first.get_by_role("link", name="Open a second tab").click()
    second = opened.value
    assert is_logged_in(second)
    assert second.locator("#user").inner_text() == "alice"
    click(first, "Log out")
    assert is_logged_out(second, ENDED)
    assert is_logged_out(first, "You have logged out.")
    assert visitor.cookies == {}


def test_a_tab_does_not_take_its_own_logout_for_anothers(visit: Visit) -> None:
    """The server closes its WebSocket before the answer is there."""
    visitor = visit()
    tab = visitor.context.new_page()
    held: list[Route] = []
    tab.route("**/session/end", lambda route: held.append(route))
    with tab.expect_websocket() as opened:
        visitor.log_in("alice", tab)
    with tab.expect_request("**/session/end"):
        click(tab, "Log out")
    until_held(held, 1, tab)
    answer = held[0].fetch()
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")
    for _ in range(2):  # what the page might ask now is answered before these
        assert tab.evaluate("fetch('/me').then((answer) => answer.status)") == 401
    held[0].fulfill(response=answer)
    assert is_logged_out(tab, "You have logged out.")
    assert not any(row.startswith("401") for row in rows(tab))


def test_logging_out_everywhere_ends_the_session_in_another_browser(
    visit: Visit,
) -> None:
    there = visit()
    mine, theirs = visit().log_in("alice"), there.log_in("alice")
    click(mine, "Log out everywhere")
    assert is_logged_out(mine, "You have logged out.")
    assert is_logged_out(theirs, ENDED)
    theirs.reload()
    assert is_logged_out(theirs, "")
    there.log_in("alice")  # over the cookies that are left


def test_a_tab_shows_who_has_logged_in_in_another(visit: Visit) -> None:
    visitor = visit()
    stale = visitor.open()
    until_shown(stale, "#login")
    tab = visitor.log_in("alice")
    fill_in(stale, "bob")
    assert is_logged_in(stale)
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.get_by_text("open: “hello, bob”").wait_for()
    assert tab.locator("#user").inner_text() == "bob"


def test_two_tabs_that_renew_at_once_stay_logged_in(visit: Visit) -> None:
    visitor = visit()
    tabs = [visitor.log_in("alice"), visitor.open()]
    assert is_logged_in(tabs[1])
    before = visitor.cookies[REFRESH]
    held: list[Route] = []
    visitor.context.route("**/session/refresh", lambda route: held.append(route))
    for tab in tabs:
        with tab.expect_request("**/session/refresh"):
            tab.evaluate("void renew()")
    until_held(held, 2, tabs[0])
    with (
        tabs[0].expect_response("**/session/refresh") as one,
        tabs[1].expect_response("**/session/refresh") as two,
    ):
        for route in held:
            route.continue_()
    sent = [response.value.request.all_headers()["cookie"] for response in (one, two)]
    assert [before in cookies for cookies in sent] == [True, True]  # the same token
    assert [one.value.status, two.value.status] == [200, 200]
    for tab in tabs:
        assert press(tab, "Who am I?", "/me").status == 200
        assert is_logged_in(tab)
        tab.reload()
        assert is_logged_in(tab)
    visitor.context.unroute("**/session/refresh")
    tabs[0].evaluate("void renew()")
    tabs[0].locator("#renewals", has_text=re.compile("[1-9]")).wait_for()


def test_a_reload_without_the_access_cookie_goes_on_by_the_other(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.log_in("alice")
    visitor.context.clear_cookies(name=ACCESS)
    tab.reload()
    assert is_logged_in(tab)
    assert visitor.cookies.keys() == {ACCESS, REFRESH}
    visitor.context.clear_cookies()
    assert press(tab, "Who am I?", "/me").status == 401
    assert is_logged_out(tab, ENDED)


def test_a_server_that_cannot_renew_for_now_ends_no_session(visit: Visit) -> None:
    """The page goes on asking, and the session with it."""
    visitor = visit()
    tab = visitor.log_in("alice")
    refresh = "**/session/refresh"
    visitor.context.route(refresh, lambda route: route.fulfill(status=503))
    visitor.context.clear_cookies(name=ACCESS)
    assert press(tab, "Who am I?", "/me").status == 401
    tab.locator("#log li", has_text="503").wait_for()
    assert is_logged_in(tab)
    visitor.context.unroute(refresh)
    with tab.expect_response(refresh) as renewed:
        press(tab, "Who am I?", "/me")
    assert renewed.value.status == 200
    tab.locator("#renewals", has_text=re.compile("[1-9]")).wait_for()
    assert is_logged_in(tab)
    (told,) = visitor.complaints
    assert "503" in told
    visitor.complaints.clear()


def test_a_browser_that_keeps_no_cookie_is_told_why(visit: Visit, port: int) -> None:
    """``__Host-`` is for https; only loopback hosts are trusted without."""
    visitor = visit(f"http://example.test:{port}")
    tab = visitor.open()
    fill_in(tab, "alice")
    tab.get_by_text("The browser keeps no cookie").wait_for()
    assert visitor.cookies == {}
    assert tab.locator("#account").is_hidden()


LOGIN = '{"name":"bob","password":"wonderland","x":"'
"""Before the equals sign that a form puts after a name: text/plain can be JSON."""
PATHS = {
    "/login": f"<input name='{LOGIN}' value='\"}}'>",
    "/session/refresh": "",
    "/logout/everywhere": "",
}


OTHERS = {
    # SameSite=Strict has the browser send no cookie; a login would need none.
    "127.0.0.1": ("cross-site", [403, 403, 401]),
    # Another port is the same site: the cookies come along, Strict or not.
    "localhost": ("same-site", [403, 403, 403]),
}


@pytest.mark.parametrize("host", OTHERS)
def test_a_page_of_another_origin_changes_nothing(
    visit: Visit, port: int, host: str
) -> None:
    """By a form, which a browser sends anywhere, or by a WebSocket."""
    site, refusals = OTHERS[host]
    forms = "".join(
        f"<form method=post enctype=text/plain action=http://localhost:{port}{path}>"
        f"{field}<button>{path}</button></form>"
        for path, field in PATHS.items()
    )
    opening = f"""new Promise((done) => {{
        const socket = new WebSocket("ws://localhost:{port}/ws");
        socket.onopen = () => done("open");
        socket.onclose = () => done("closed");
    }})"""
    visitor = visit()
    tab = visitor.log_in("alice")
    before = visitor.cookies
    attacker = visitor.context.new_page()
    answers = []
    with foreign_page(forms) as other_port:
        for path in PATHS:
            attacker.goto(f"http://{host}:{other_port}")
            with attacker.expect_response(f"**{path}") as answered:
                attacker.get_by_role("button", name=path).click()
            sent = answered.value.request.all_headers()
            assert sent["sec-fetch-site"] == site
            assert ("cookie" in sent) == (site == "same-site")
            answers.append(answered.value.status)
        attacker.goto(f"http://{host}:{other_port}")
        assert attacker.evaluate(opening) == "closed"
    assert answers == refusals
    assert visitor.cookies == before
    assert press(tab, "Who am I?", "/me").json()["user"] == "alice"
    assert is_logged_in(tab)
    assert tab.evaluate(opening) == "open"


def test_the_page_is_legible(visit: Visit, tmp_path: Path) -> None:
    """Also a look at it: ``SCREENSHOTS=folder pytest tests/test_browser.py``."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    visitor = visit()
    tab = visitor.open()
    until_shown(tab, "#login")
    look(tab, folder, "signed-out")
    fill_in(tab, "bob", "guess")
    until_shown(tab, "#wrong")
    look(tab, folder, "wrong-password")
    fill_in(tab, "bob")
    assert is_logged_in(tab)
    press(tab, "List users", "/admin/users")
    look(tab, folder, "signed-in")
    visitor.context.clear_cookies()
    press(tab, "Who am I?", "/me")
    until_shown(tab, "#login")
    look(tab, folder, "ended")


def look(tab: Page, folder: Path, name: str) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme, (shape, width) in product(schemes, WIDTHS.items()):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 800})
        path = folder / f"{name}-{shape}-{scheme}.png"
        content = tab.screenshot(path=path, full_page=True)
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">I", content[16:20]) == (width,)
        assert len(content) > 10_000  # an empty page has less than half of it
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        contrasts = tab.evaluate(CONTRASTS)
        assert len(contrasts) > 10
        assert [text for text, contrast in contrasts if contrast < 4.5] == []


def test_without_a_browser_these_tests_are_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        find_chromium()


def test_a_browser_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(FileNotFoundError, match="no such program"):
        find_chromium()
