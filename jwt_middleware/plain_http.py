"""Warn if a browser drops Secure cookies because they came over plain http."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar

from .quoting import shown
from .request import Request

logger = logging.getLogger("jwt_middleware")

BEHIND_A_PROXY = (
    "behind a proxy that ends TLS, let the server trust its headers "
    "(uvicorn --proxy-headers, Werkzeug's ProxyFix)"
)
"""What the log advises if a request came over plain http."""

LOOPBACK = re.compile(
    r"(?:(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])\.?(?::\d*)?", re.IGNORECASE
)
"""Hosts from which Chromium and Firefox take Secure cookies without TLS."""
OF_PROXIES = ("x-forwarded-proto", "forwarded", "x-forwarded-ssl", "front-end-https")

_host: ContextVar[str] = ContextVar("jwt_middleware.plain_http", default="")
_warned: set[str] = set()
"""The host that this process has warned about; one at most."""


def note_scheme(request: Request) -> None:
    """Note whether the browser of *request* would drop a Secure cookie."""
    _host.set("" if request.is_secure or _warned else _dropping_host(request))


def warn_of_dropped_cookies() -> None:
    """Warn once in a process if cookies are written for a request over plain http."""
    host = _host.get()
    if not host or _warned:
        return
    _warned.add(host)
    logger.warning(
        "cookies were written for a request over plain http to %s: they are Secure, "
        "so browsers and test clients drop them, and no login lasts. Serve https, or "
        "open http://localhost in development; %s; give a test client an https base "
        "URL",
        shown(host),
        BEHIND_A_PROXY,
    )


def _dropping_host(request: Request) -> str:
    """Return the host of a request by plain http; empty if the browser may use https.

    Browsers send Sec-Fetch-Site only over https and to this machine.  If a proxy ends
    TLS and the server ignores that, a header of the proxy or Origin still shows it.
    """
    if request.header("sec-fetch-site"):
        return ""
    host = ",".join(request.header("host"))
    if LOOPBACK.fullmatch(host):
        return ""
    told = [",".join(request.header(name)).lower() for name in OF_PROXIES]
    told.append(",".join(request.header("origin")).lower())
    is_tls = any("https" in value or value == "on" for value in told)
    return "" if is_tls else host
