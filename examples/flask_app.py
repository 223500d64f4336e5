"""A Flask application that logs its own users in.

Copy it with login_limits.py and the folders `page` and `templates` into a package of
your own, and change ten lines.

    python -m examples.flask_app        serves http://localhost:5000

alice (admin) and bob have the password "wonderland".  Open it in a browser: it is a
website of plain forms, and a session is renewed inside whatever request shows that its
token has expired.  A client other than a browser sends a header:

    TYPE='Content-Type: application/json'
    curl -H "$TYPE" -d '{"name":"alice","password":"wonderland"}' localhost:5000/token
    curl -H "Authorization: Bearer $ACCESS_TOKEN" localhost:5000/me
    GRANT="grant_type=refresh_token&refresh_token=$REFRESH_TOKEN"
    curl -d "$GRANT" localhost:5000/token/refresh
    curl -H "Authorization: Bearer $ACCESS_TOKEN" -X POST localhost:5000/logout

For production: read the key from a secret (Key.from_pem), so that tokens survive a
restart and all workers sign alike; keep users and their hashes in a database; set
require_https=True, and tell Werkzeug of your proxy (ProxyFix); start it with gunicorn.
MemoryStore and LoginLimits serve one process; SQLiteStore serves all workers of
a machine, RedisStore all machines.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from flask import (
    Flask,
    Response,
    abort,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
)
from werkzeug.wrappers import Response as AnyResponse

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Key,
    MemoryStore,
    Rule,
    SessionCookies,
    TokenIssuer,
)
from jwt_middleware.flask import (
    current_token,
    from_request,
    init_app,
    require_token,
    requires,
    set_cookies,
)
from jwt_middleware.grants import read_refresh_request

from .login_limits import HASHERS, WAIT_S, LoginLimits, LoginRefused

logging.basicConfig()
logging.getLogger("jwt_middleware").setLevel("INFO")  # why a request was refused

HASHER = PasswordHasher()
HASHING = threading.BoundedSemaphore(HASHERS)
HASH = HASHER.hash("wonderland")
SCOPES = {"alice": ("read", "admin"), "bob": ("read",)}
NO_STORE = {"Cache-Control": "no-store"}

store = MemoryStore()
issuer = TokenIssuer(
    "http://localhost:5000",
    audience="example",
    key=Key.generate(),
    store=store,
    access_lifetime=int(os.environ.get("ACCESS_LIFETIME", "60")),  # 600 is usual
    leeway=2,  # one machine has one clock; 30 is usual
    reuse_leeway=10,  # the parts of a page are asked for at once
)
limits = LoginLimits(window=float(os.environ.get("LOGIN_WINDOW", "300")))
cookies = SessionCookies(issuer, transparent=True, same_site="Lax", login_path="/")
auth = Authenticator(
    issuer.trusted(),
    sources=(BearerHeader(), cookies),
    rules=(
        Rule("/", optional=True),
        Rule("/page/*", public=True),
        Rule("/.well-known/jwks.json", public=True),
        Rule("/token", methods=("POST",), public=True),
        Rule("/token/refresh", methods=("POST",), public=True),
        Rule("/login", methods=("POST",), public=True),
        Rule("/admin/*", scopes=("admin",)),
    ),
    store=store,
)
app = Flask(__name__, static_folder="page", static_url_path="/page")
app.config["MAX_CONTENT_LENGTH"] = 65_536  # else a stranger's body fills the memory
init_app(app, auth)


@app.after_request
def protect(response: Response) -> Response:
    policy = "default-src 'self'; frame-ancestors 'none'"
    response.headers["Content-Security-Policy"] = policy
    return response


@app.get("/")
def home() -> AnyResponse:
    return redirect("/account", 303) if current_token() else page()


def page(told: str = "", status: int = 200) -> Response:
    user = current_token()
    seconds = round(user.expires_at - time.time()) if user else 0
    text = render_template("account.html", user=user, seconds=seconds, told=told)
    return make_response(text, status, NO_STORE)


@app.get("/account")
def account() -> Response:
    return page()


@app.post("/login")
def login() -> AnyResponse:
    cookies.ensure_own_page(from_request(request))
    name = find_user(request.form)
    if name is None:
        return page("Wrong name or password.", 403)
    cookies.end(from_request(request))  # one session for one browser
    pair = issuer.issue(name, scope=SCOPES[name])
    return set_cookies(redirect("/account", 303), cookies.write(pair))


@app.post("/token")
def token() -> Response:
    try:
        name = find_user(request.get_json())
    except RecursionError:
        abort(400, "write a name and a password")
    if name is None:
        abort(403, "wrong name or password")
    pair = issuer.issue(name, scope=SCOPES[name])
    return make_response(pair.as_dict(), NO_STORE)


@app.post("/token/refresh")
def refresh_token() -> Response:
    text, scope = read_refresh_request(request.content_type or "", request.get_data())
    pair = issuer.refresh(text, scope=scope)
    return make_response(pair.as_dict(), NO_STORE)


def find_user(sent: Mapping[str, object]) -> str | None:
    """Return the user's name, or None if the name or the password is wrong."""
    try:
        name, password = str(sent["name"]), str(sent["password"])
    except (KeyError, TypeError):
        abort(400, "write a name and a password")
    if not HASHING.acquire(timeout=WAIT_S):
        raise LoginRefused(503, "Too many logins at once. Try again.", 1)
    try:
        return name if is_user(name, password) else None
    finally:
        HASHING.release()


def is_user(name: str, password: str) -> bool:
    address = request.remote_addr or ""
    limits.count(name, address)
    try:  # for anyone, so that time does not tell who is known
        HASHER.verify(HASH, password.encode("utf-8", "replace"))
    except VerifyMismatchError:
        return False
    if name not in SCOPES:
        return False
    limits.forget(name, address)
    return True


@app.errorhandler(LoginRefused)
def refuse_login(error: LoginRefused) -> Response:
    response = page(str(error), error.status)
    response.headers.update(error.headers)
    return response


@app.get("/me")
def me() -> Response:
    user = require_token()
    return jsonify(user=user.subject, scopes=sorted(user.scopes))


@app.get("/admin/users")
def users() -> Response:
    return jsonify(users=sorted(SCOPES))


@app.post("/password")
@requires("read", max_age=300)
def password() -> Response:
    """What wants a recent login: five minutes later it answers 401 (RFC 9470)."""
    return jsonify(changed=False)


@app.post("/logout")
def logout() -> AnyResponse:
    issuer.end_session(require_token()["sid"])
    return logged_out()


@app.post("/logout/everywhere")
def logout_everywhere() -> AnyResponse:
    auth.revoke_subject(require_token()["sub"])
    return logged_out()


def logged_out() -> AnyResponse:
    return set_cookies(redirect("/", 303), cookies.clear())


@app.get("/.well-known/jwks.json")
def jwks() -> Response:
    return make_response(issuer.jwks(), {"Cache-Control": "public, max-age=600"})


if __name__ == "__main__":
    print(__doc__)
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
