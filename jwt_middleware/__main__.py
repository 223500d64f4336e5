"""Take tokens back from the command line, when nobody can wait for a release.

python -m jwt_middleware revoke --store redis://redis.example/0 --token token.txt
python -m jwt_middleware revoke --store sqlite:marks.db --issuer ISS --session SID
python -m jwt_middleware revoke --store sqlite:marks.db --issuer ISS --subject SUB
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .bridge import ask, run
from .compact import read_json_object
from .jose import read_jws
from .options import TEXT, read_date, read_word
from .quoting import shown
from .revocation import STEP_S, handle
from .store import Store
from .trust import MOST_LEEWAY

DAY_S = 86400
SLACK_S = 2 * MOST_LEEWAY
"""By which clocks may differ, there and here."""


def main(
    arguments: Sequence[str] | None = None, now: Callable[[], float] = time.time
) -> int:
    """Run the command.  Return 0 if the mark was made, else 1."""
    parser = _parser()
    chosen = parser.parse_args(
        _joined(sys.argv[1:] if arguments is None else arguments)
    )
    if chosen.token is None and chosen.issuer is None:
        parser.error("--session and --subject need --issuer, the iss of the tokens")
    try:
        name, at, until = _mark(chosen, now())
        store = open_store(chosen.store, chosen.prefix, _secret(chosen.secret_file))
    except Exception as error:  # for people: one line, and no traceback
        return _failed("nothing was revoked", error)
    try:
        run(_write(store, name, at, until))
    except Exception as error:  # the store may have written all the same
        return _failed("it may not have been revoked; try again", error)
    kind, issuer, value = name.split(" ", 2)  # a slip in any of them revokes nothing
    print(
        f"revoked {kind} {shown(value)} of issuer {shown(issuer)}; "
        f"the mark stands until {time.ctime(until)}"
    )
    return 0


def open_store(url: str, prefix: str, secret: bytes | None = None) -> Store:
    """Open the store at *url*: ``sqlite:PATH``, or what `RedisStore` takes.

    Raise ValueError where no worker reads there: a mark would be nobody's.
    """
    scheme, _, path = url.partition(":")
    if scheme == "sqlite":
        from .sqlite import SQLiteStore

        if not Path(path).exists():
            raise ValueError(
                f"there is no file {path!r}; write the path that the application gives "
                "to SQLiteStore"
            )
        return SQLiteStore(path, secret=secret)
    if scheme.partition("+")[0] in ("redis", "rediss", "unix"):
        from .redis import RedisStore

        store = RedisStore(url, prefix=prefix, secret=secret)
        if not store.has_readers():
            raise ValueError("no worker reads there; look at --store and --prefix")
        return store
    raise ValueError("the store is sqlite:PATH, or redis://... as RedisStore takes it")


def _failed(what: str, error: Exception) -> int:
    told = f"{type(error).__name__}: {shown(str(error))}"
    print(f"{what}: {told}", file=sys.stderr)
    return 1


async def _write(store: Store, name: str, at: float, until: float) -> None:
    """Make the mark.

    A session of a subject may have begun just after an earlier mark, by a clock that
    is ahead: the mark comes after it.
    """
    if name.startswith("sub ") and not await ask(store.add, name, 0.0, 0.0):
        (mark,) = await ask(store.look, [name])
        at = max(at, at if mark is None else mark + 2 * STEP_S)
    await ask(store.put, name, at, until)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jwt_middleware")
    commands = parser.add_subparsers(required=True, metavar="revoke")
    revoke = commands.add_parser("revoke", help="take tokens back")
    revoke.add_argument("--store", required=True, help="sqlite:PATH or redis://...")
    what = revoke.add_mutually_exclusive_group(required=True)
    what.add_argument("--token", metavar="FILE", help="with one token; - reads stdin")
    what.add_argument("--session", metavar="SID", help="what was issued in a session")
    what.add_argument("--subject", metavar="SUB", help="what was issued to somebody")
    revoke.add_argument(
        "--prefix",
        default="jwt_middleware",
        metavar="P",
        help="that of the RedisStore (default: jwt_middleware)",
    )
    revoke.add_argument(
        "--secret-file",
        metavar="FILE",
        help="with the secret of the store, octet by octet",
    )
    revoke.add_argument("--issuer", metavar="ISS", help="the iss of the tokens")
    revoke.add_argument(
        "--max-lifetime",
        type=float,
        default=DAY_S,
        metavar="S",
        help="that of the TrustedIssuer, in seconds (default: a day)",
    )
    return parser


def _secret(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _joined(arguments: Sequence[str]) -> list[str]:
    """*arguments* with the name of a session or subject joined to its option.

    It may begin with a hyphen, and would be taken for an option itself.
    """
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--session", "--subject"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _mark(chosen: argparse.Namespace, now: float) -> tuple[str, float, float]:
    """The name of the mark, its date and its end."""
    if chosen.token is not None:
        return _mark_of_token(chosen.token)
    issuer = read_word("--issuer", chosen.issuer)
    kept = read_date("--max-lifetime", chosen.max_lifetime) + SLACK_S
    if chosen.session is not None:  # whatever the clocks say: for all of its life
        session = read_word("--session", chosen.session, TEXT)
        until = now + MOST_LEEWAY + kept
        return handle("sid", issuer, session), until, until
    subject = read_word("--subject", chosen.subject, TEXT)
    return handle("sub", issuer, subject), now, now + kept


def _mark_of_token(file: str) -> tuple[str, float, float]:
    """The operator's word is enough: whose token it is is not verified here."""
    if file.count(".") == 2 and file.startswith("eyJ"):
        raise ValueError(
            "--token is a token, expected the name of a file that holds it, so that no "
            "list of processes shows it; write --token - and give it by stdin"
        )
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    compact = read_jws(text.strip())
    claims = read_json_object(compact.payload)
    issuer = read_word("iss", claims.get("iss"))
    until = read_date("exp", claims.get("exp")) + SLACK_S
    identifier = claims.get("jti") or compact.digest
    return handle("jti", issuer, read_word("jti", identifier, TEXT)), until, until


if __name__ == "__main__":
    sys.exit(main())
