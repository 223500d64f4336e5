"""Django with django-cors-headers behind the middleware, for `test_cors`."""

from __future__ import annotations

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]
from starlette.middleware.cors import CORSMiddleware

from jwt_middleware import Authenticator, Key, Rule, TrustedIssuer
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

ORIGIN = "https://page.example"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.method}")


urlpatterns = [path("x", view)]
settings.configure(
    ALLOWED_HOSTS=["*"],
    CORS_ALLOWED_ORIGINS=[ORIGIN],
    INSTALLED_APPS=["corsheaders"],
    MIDDLEWARE=["corsheaders.middleware.CorsMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="made up",
)
django.setup()
issuer = TrustedIssuer(
    "https://issuer.example", audience="api", keys=[Key.generate().public]
)
with_rule = Authenticator(
    issuer, rules=(Rule("/*", methods=("OPTIONS",), public=True),)
)
wsgi_app = WSGIMiddleware(get_wsgi_application(), with_rule)
asgi_app = CORSMiddleware(
    ASGIMiddleware(get_asgi_application(), Authenticator(issuer)),
    allow_origins=[ORIGIN],
    allow_headers=["Authorization"],
    allow_methods=["DELETE"],
)
