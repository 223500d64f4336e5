"""A Flask application that logs its own users in.  Copy it, change ten lines.

    python -m examples.flask_app        serves http://localhost:5000

alice (admin) and bob have the password "wonderland".  A client sends a header:

    TYPE='Content-Type: application/json'
    curl -H "$TYPE" -d '{"name":"alice","password":"wonderland"}' localhost:5000/token
    curl -H "Authorization: Bearer $ACCESS_TOKEN" localhost:5000/me

A browser sends a cookie:

    LOGIN='{"name":"bob","password":"wonderland"}'
    curl -H "$TYPE" -d "$LOGIN" -c jar localhost:5000/login
    curl -b jar localhost:5000/me
    curl -b jar localhost:5000/admin/users
    curl -b jar -X POST localhost:5000/logout

For production: read the key from a secret (Key.from_pem), so that tokens survive a
restart and all workers sign alike; keep users and their hashes in a database; set
require_https=True, and tell Werkzeug of your proxy (ProxyFix); start it with gunicorn.
MemoryStore serves one process; SQLiteStore serves all workers of a machine, RedisStore
all machines.
"""

from __future__ import annotations

from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from flask import Flask, Response, abort, jsonify, make_response, request

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    Token,
    TokenIssuer,
    TokenPair,
)
from jwt_middleware.wsgi import JWTMiddleware

HASHER = PasswordHasher()
HASH = HASHER.hash("wonderland")
SCOPES = {"alice": ("read", "admin"), "bob": ("read",)}
COOKIE: dict[str, Any] = {"secure": True, "httponly": True, "samesite": "Lax"}

issuer = TokenIssuer("http://localhost:5000", audience="example", key=Key.generate())
auth = Authenticator(
    issuer.trusted(),
    sources=(BearerHeader(), Cookie("__Host-access")),
    rules=(
        Rule("/", public=True),
        Rule("/token", public=True),
        Rule("/login", public=True),
        Rule("/admin/*", scopes=("admin",)),
    ),
    store=MemoryStore(),
)
app = Flask(__name__)
app.wsgi_app = JWTMiddleware(app.wsgi_app, auth)  # type: ignore[method-assign]


@app.get("/")
def home() -> Response:
    return Response(__doc__, mimetype="text/plain")


@app.post("/token")
def token() -> Response:
    response = jsonify(log_in().as_dict())
    response.headers["Cache-Control"] = "no-store"
    return response


@app.post("/login")
def login() -> Response:
    pair = log_in()
    response = make_response("", 204, {"Cache-Control": "no-store"})
    response.set_cookie(
        "__Host-access", pair.access_token, max_age=pair.expires_in, **COOKIE
    )
    return response


def log_in() -> TokenPair:
    # get_json refuses every type but application/json, which another site's page
    # cannot post here unasked.
    try:
        sent = request.get_json()
        name, password = str(sent["name"]), str(sent["password"])
    except (KeyError, TypeError):
        abort(400, "write a name and a password")
    if not is_user(name, password):
        abort(403, "wrong name or password")
    return issuer.issue(name, scope=SCOPES[name])


def is_user(name: str, password: str) -> bool:
    try:  # for anyone, so that time does not tell who is known
        HASHER.verify(HASH, password.encode("utf-8", "replace"))
    except VerifyMismatchError:
        return False
    return name in SCOPES


@app.get("/me")
def me() -> Response:
    user = current_user()
    return jsonify(user=user.subject, scopes=sorted(user.scopes))


@app.get("/admin/users")
def users() -> Response:
    return jsonify(users=sorted(SCOPES))


@app.post("/logout")
def logout() -> Response:
    auth.revoke_session(current_user()["sid"])
    response = make_response("", 204)
    response.delete_cookie("__Host-access", **COOKIE)
    return response


def current_user() -> Token:
    user: Token = request.environ["jwt_middleware.token"]
    return user


if __name__ == "__main__":
    print(__doc__)
    app.run(host="127.0.0.1", port=5000)
