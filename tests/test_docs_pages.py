"""The code of the reference half of the manual runs, and its links lead somewhere."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient
from werkzeug.test import Client

from jwt_middleware import Authenticator, BearerHeader
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.errors import InsufficientScope
from jwt_middleware.testing import StoreSuite
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

HERE = Path(__file__).resolve()
DOCS = next(up / "docs" for up in HERE.parents if (up / "pyproject.toml").exists())
PAGES = [
    "configuration.md",
    "deployment.md",
    "errors.md",
    "migrating.md",
    "revocation-and-stores.md",
    "testing.md",
    *sorted(f"frameworks/{page.name}" for page in (DOCS / "frameworks").glob("*.md")),
]
IMPORTED = {
    "blacksheep": "blacksheep",
    "bottle": "bottle",
    "django": "django",
    "falcon": "falcon",
    "litestar": "litestar",
    "pyramid": "pyramid.config",
    "quart": "quart",
}
"""What the page of this name needs, beside what every test needs."""

NOT_HERE_YET = {"browser-sessions.md", "own-users.md"}
"""Pages of the other half of the manual."""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


@contextmanager
def same_logging() -> Iterator[None]:
    """Take back what a block, or a framework in it, has set for the whole process."""
    root, ours = logging.getLogger(), logging.getLogger("jwt_middleware")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


def run(page: str, folder: Path) -> dict[str, Any]:
    """Run the blocks of *page* one after another.  Return the names that they leave."""
    if needed := IMPORTED.get(Path(page).stem):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of WebOb, for cgi
            pytest.importorskip(needed)
    names: dict[str, Any] = {"__name__": "__main__", "FOLDER": folder}
    with same_logging():
        for block in blocks(page, "python"):
            exec(compile(block, page, "exec"), names)  # noqa: S102
    return names


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """The pages assert what they say."""
    run(page, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_every_framework_page_sends_requests(page: str) -> None:
    if page.startswith("frameworks/") and not page.endswith("README.md"):
        tested = "".join(blocks(page, "python") + blocks(page, "text"))
        assert tested.count("assert ") >= 3
        assert "401" in tested


def test_the_test_on_the_page_on_testing_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run("testing.md", tmp_path)["test_wrong_audience"](caplog)


class TestStoreOfTheManual(StoreSuite):
    """The store that the manual shows is one."""

    @pytest.fixture(autouse=True)
    def _page(self, tmp_path: Path) -> None:
        self._made = run("revocation-and-stores.md", tmp_path)["DictStore"]

    def open(self, now: Callable[[], float]) -> Any:
        return self._made(now)


def test_the_page_on_django_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks for ``wsgi.py`` and for tests, in a project; and the same by ASGI."""
    django = configured_django()
    names = run("frameworks/django.md", tmp_path)
    auth: Authenticator = names["auth"]
    refusing = names["RefusingMiddleware"]
    monkeypatch.setattr(
        sys.modules[__name__], "RefusingMiddleware", refusing, raising=False
    )
    for_wsgi, for_client, for_view = blocks("frameworks/django.md", "text")
    overriding = pytest.importorskip("django.test").override_settings(
        ROOT_URLCONF=urls_of(names),
        MIDDLEWARE=[f"{__name__}.RefusingMiddleware"],
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
    )
    with overriding:
        exec(for_wsgi, names)  # noqa: S102
        made = names["get_wsgi_application"]()
        names |= {"auth": auth, "application": WSGIMiddleware(made, auth)}
        exec(for_client, names)  # noqa: S102
        exec(for_view, {**names, "django": django})  # noqa: S102
        asgi = pytest.importorskip("django.core.asgi").get_asgi_application()
        client = TestClient(ASGIMiddleware(asgi, auth))
        assert client.get("/me").status_code == 401
        assert client.get("/me", headers=names["headers"]).json() == {"user": "alice"}
        answer = client.get("/pay", headers=names["headers"])
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/json"
    assert "insufficient_scope" in answer.headers["www-authenticate"]


def configured_django() -> Any:
    """Django, with settings: the whole process shares them."""
    django = pytest.importorskip("django")
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure(SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"])
        django.setup()
    return django


def urls_of(names: dict[str, Any]) -> ModuleType:
    """The routes of the project that the page shows."""
    http = pytest.importorskip("django.http")
    path = pytest.importorskip("django.urls").path

    def from_environ(request: Any) -> Any:
        token = request.environ["jwt_middleware.token"]
        return http.JsonResponse({"user": token.subject})

    urls = ModuleType("urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("me", names["me"]),
        path("pay", names["pay"]),
        path("environ", from_environ),
    ]
    return urls


@pytest.mark.parametrize("framework", ["quart", "blacksheep"])
def test_a_handler_of_errors_keeps_the_challenge_of_each_source(
    framework: str, tmp_path: Path
) -> None:
    names = run(f"frameworks/{framework}.md", tmp_path)
    issuer = names["issuer"]
    two = (BearerHeader(), BearerHeader("X-Token", "Token"))
    names["auth"] = Authenticator(
        issuer.trusted(), sources=two
    )  # which the handler asks
    sent = {"Authorization": f"Bearer {issuer.issue('alice').access_token}"}
    with TestClient(names["app"]) as client:
        answer = client.post("/payments", headers=sent)
    challenges = answer.headers.get_list("www-authenticate")
    assert [one.partition(" ")[0] for one in challenges] == ["Bearer", "Token"]


def test_django_keeps_the_challenge_of_each_source(tmp_path: Path) -> None:
    configured_django()
    names = run("frameworks/django.md", tmp_path)
    two = (BearerHeader(), BearerHeader("X-Token", "Token"))
    names["auth"] = Authenticator(names["issuer"].trusted(), sources=two)
    middleware = names["RefusingMiddleware"](lambda request: None)
    request = pytest.importorskip("django.test").RequestFactory().get("/")
    error = InsufficientScope("no", scopes=("pay",))
    answer = middleware.process_exception(request, error)
    assert re.findall(r"(\w+) realm=", answer["WWW-Authenticate"]) == [
        "Bearer",
        "Token",
    ]
    assert middleware.process_exception(request, LookupError()) is None


def test_the_function_for_cors_shows_refusals_to_one_origin(tmp_path: Path) -> None:
    made = run("frameworks/plain-asgi-and-wsgi.md", tmp_path)["with_wsgi_cors"]
    asking = {"Access-Control-Request-Method": "GET"}
    for origin, statuses in (
        ("https://page.example", (204, 401)),
        ("https://evil.example", (401, 401)),
    ):
        for method, status in zip(("OPTIONS", "GET"), statuses, strict=True):
            headers = {"Origin": origin, **(asking if method == "OPTIONS" else {})}
            answer = Client(made).open("/", method=method, headers=headers)
            shown = answer.headers.get("Access-Control-Allow-Origin")
            assert answer.status_code == status
            assert shown == ("https://page.example" if "page" in origin else None)


def anchors(page: Path) -> set[str]:
    """The names that a link may lead to on *page*, as GitHub and others make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    here = DOCS / page
    for link in re.findall(r"\]\(([^)]+)\)", here.read_text()):
        target, _, anchor = link.partition("#")
        found = (here.parent / target).resolve() if target else here
        if found.name in NOT_HERE_YET and not found.exists():
            continue
        assert found.exists(), link
        if anchor:
            assert anchor in anchors(found), link
