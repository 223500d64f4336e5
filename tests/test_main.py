"""The command line: what an operator types at night."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jwt_middleware import Authenticator, Key, TokenIssuer
from jwt_middleware.__main__ import main
from jwt_middleware.bridge import ask, run
from jwt_middleware.errors import TokenRevoked
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

from .redis_server import RedisServer, eventually
from .servers import ROOT

ISSUER = "https://app.example"
MINT = TokenIssuer(ISSUER, audience="app", key=Key.generate())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that an application has made."""
    SQLiteStore(tmp_path / "marks.db").close()
    return tmp_path / "marks.db"


def is_revoked(text: str, path: Path) -> bool:
    """What another process would say of a token."""
    store = SQLiteStore(path)
    try:
        Authenticator(MINT.trusted(), store=store).authenticate(text)
    except TokenRevoked:
        return True
    finally:
        store.close()
    return False


def test_a_token_is_taken_back(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, other = (MINT.issue("alice").access_token for _ in range(2))
    (tmp_path / "token.txt").write_text(f"{text}\n")
    assert not is_revoked(text, path)
    words = [f"--store=sqlite:{path}", f"--token={tmp_path / 'token.txt'}"]
    assert main(["revoke", *words]) == 0
    assert is_revoked(text, path)
    assert not is_revoked(other, path)
    told = capsys.readouterr()
    assert told.out.startswith("revoked jti ")
    assert f" of issuer {ISSUER!r}; the mark stands until " in told.out
    assert (text not in told.out, told.err) == (True, "")


def test_a_token_may_come_by_standard_input(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never as an argument, which every user of the machine can read."""
    text = MINT.issue("alice").access_token
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert main(["revoke", f"--store=sqlite:{path}", "--token=-"]) == 0
    assert is_revoked(text, path)


def test_a_session_is_taken_back(path: Path) -> None:
    pair, other = (MINT.issue("alice") for _ in range(2))
    words = [f"--issuer={ISSUER}", f"--session={pair.session_id}"]
    assert main(["revoke", f"--store=sqlite:{path}", *words]) == 0
    assert is_revoked(pair.access_token, path)
    assert not is_revoked(other.access_token, path)


def test_a_subject_is_taken_back(path: Path) -> None:
    alice, bob = (MINT.issue(name).access_token for name in ("alice", "bob"))
    words = [f"--issuer={ISSUER}", "--subject=alice"]
    assert main(["revoke", f"--store=sqlite:{path}", *words]) == 0
    assert is_revoked(alice, path)
    assert not is_revoked(bob, path)


def test_a_mark_is_kept_for_as_long_as_tokens_live(path: Path) -> None:
    """And for what clocks may differ; an issuer with longer tokens says so."""
    words = [f"--issuer={ISSUER}", "--subject=alice", "--max-lifetime=1000"]
    now = time.time() - 1500
    assert main(["revoke", f"--store=sqlite:{path}", *words], now=lambda: now) == 0
    assert not is_revoked(MINT.issue("alice").access_token, path)
    store = SQLiteStore(path, now=lambda: now + 1599)
    name = f"sub {ISSUER} alice"
    assert _look(store, name) == pytest.approx(now)
    store.close()
    store = SQLiteStore(path, now=lambda: now + 1600)
    assert _look(store, name) is None
    store.close()


def _look(store: SQLiteStore, name: str) -> float | None:
    from jwt_middleware.bridge import ask, run

    return run(ask(store.look, [name]))[0]


def test_it_runs_as_a_command(path: Path) -> None:
    pair = MINT.issue("alice")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "jwt_middleware", "revoke"),
            *("--store", f"sqlite:{path}", "--issuer", ISSUER),
            *("--session", pair.session_id),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = f"revoked sid {pair.session_id!r} of issuer {ISSUER!r}; the mark stands "
    assert done.stdout.startswith(told)
    assert done.stderr == ""
    assert is_revoked(pair.access_token, path)


def is_over(auth: Authenticator, text: str) -> bool:
    try:
        auth.authenticate(text)
    except TokenRevoked:
        return True
    return False


def test_a_store_in_redis_does_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    from jwt_middleware.redis import RedisStore

    pair = MINT.issue("alice")
    with RedisServer() as server:
        words = [f"--issuer={ISSUER}", f"--session={pair.session_id}"]
        assert main(["revoke", f"--store={server.url}", *words]) == 1
        assert "no worker reads there" in capsys.readouterr().err
        store = RedisStore(server.url, prefix="shop")
        auth = Authenticator(MINT.trusted(), store=store)
        assert auth.authenticate(pair.access_token)
        assert main(["revoke", f"--store={server.url}", *words]) == 1
        words.append("--prefix=shop")
        assert main(["revoke", f"--store={server.url}", *words]) == 0
        eventually(lambda: is_over(auth, pair.access_token), "the mark arrives")
        with pytest.raises(TokenRevoked):
            auth.authenticate(pair.access_token)
        store.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the following arguments are required: revoke"),
        (["revoke"], "the following arguments are required: --store"),
        (["revoke", "--store=x"], "one of the arguments --token --session --subject"),
        (["revoke", "--store=x", "--session=s"], "need --issuer"),
        (["revoke", "--store=x", "--session=s", "--subject=s"], "not allowed with"),
        (
            ["revoke", "--store=x", "--issuer=i", "--subject=s", "--max-lifetime=day"],
            "invalid float",
        ),
    ],
)
def test_what_is_not_understood_is_told(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(words)
    assert ending.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--store=sqlite:/no/such.db", "--subject=alice"],
            "there is no file '/no/such.db'; write the path that the application",
        ),
        (
            ["--store=sqlite:{path}", "--token=eyJhbGciOiJFUzI1NiJ9.e30.AAAA"],
            "--token is a token, expected the name of a file",
        ),
        (["--store=mysql://x", "--subject=alice"], "the store is sqlite:PATH, or"),
        (["--store=redis://127.0.0.1:1/0", "--subject=alice"], "ConnectionError"),
        (["--store=sqlite:{path}", "--subject="], "--subject must be a string"),
        (["--store=sqlite:{path}", "--session="], "--session must be a string"),
        (["--store=sqlite:{path}", "--token=/no/such.txt"], "FileNotFoundError"),
        (["--store=sqlite:{path}", "--token={path}.txt"], "MalformedToken"),
        (
            ["--store=sqlite:{path}", "--subject=alice", "--max-lifetime=nan"],
            "--max-lifetime must be",
        ),
    ],
)
def test_what_failed_is_told_in_one_line(
    words: list[str], told: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody may go back to sleep for a mark that was not made."""
    Path(f"{path}.txt").write_text("not.a.token")
    written = [word.format(path=path) for word in words]
    assert main(["revoke", "--issuer=https://app.example", *written]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nothing was revoked: ")
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--session", "--subject"])
def test_a_name_may_begin_with_a_hyphen(path: Path, option: str) -> None:
    """One in 64 sessions of ours does."""
    name = "-rQhPW0KjBgte9kxrBN7mg"
    arguments = ["revoke", "--store", f"sqlite:{path}", "--issuer", ISSUER]
    assert main([*arguments, option, name]) == 0
    kind = {"--session": "sid", "--subject": "sub"}[option]
    store = SQLiteStore(path)
    try:
        assert run(ask(store.look, [f"{kind} {ISSUER} {name}"])) != [None]
    finally:
        store.close()


def test_the_secret_of_a_store_comes_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it, nothing is revoked, and that is said."""
    secret, path = tmp_path / "secret", tmp_path / "marks.db"
    secret.write_bytes(b"0123456789abcdef" * 2)
    store = SQLiteStore(path, secret=secret.read_bytes())
    wanted = ["--store", f"sqlite:{path}", "--issuer", "i", "--session", "s"]
    with_secret = [*wanted, "--secret-file", str(secret)]
    assert main(["revoke", *wanted]) == 1
    assert "nothing was revoked" in capsys.readouterr().err
    assert main(["revoke", *with_secret]) == 0
    store.close()


def test_the_secret_of_a_redis_store_comes_from_a_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it, nothing is revoked, and that is said."""
    (tmp_path / "secret").write_bytes(b"0123456789abcdef" * 2)
    with RedisServer() as server:
        store = RedisStore(server.url, secret=b"0123456789abcdef" * 2)
        assert run(ask(store.look, [f"sid {ISSUER} s"])) == [None]
        words = ["revoke", "--store", server.url, "--issuer", ISSUER, "--session", "s"]
        assert main(words) == 1
        assert "nothing was revoked: OtherSecret" in capsys.readouterr().err
        assert main([*words, f"--secret-file={tmp_path / 'secret'}"]) == 0
        eventually(
            lambda: run(ask(store.look, [f"sid {ISSUER} s"])) != [None], "it is seen"
        )
    store.close()


def test_a_subject_is_taken_back_again_after_a_new_login(path: Path) -> None:
    """The second mark comes after the first, whatever the clock of the machine says."""
    words = ["revoke", f"--store=sqlite:{path}", f"--issuer={ISSUER}"]
    ahead = time.time() + 20
    assert main([*words, "--subject=alice"], now=lambda: ahead) == 0
    assert main([*words, "--subject=alice"]) == 0
    store = SQLiteStore(path)
    assert (_look(store, f"sub {ISSUER} alice") or 0) > ahead
    store.close()


def test_a_mark_that_perhaps_was_not_written_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server refuses, as one that was cut off from its replicas does."""
    from jwt_middleware.redis import RedisStore

    with RedisServer() as server:
        store = RedisStore(server.url)
        Authenticator(MINT.trusted(), store=store).authenticate(
            MINT.issue("alice").access_token
        )
        words = [f"--store={server.url}", f"--issuer={ISSUER}", "--session=s"]
        server.command("CONFIG", "SET", "min-replicas-to-write", 1)
        assert main(["revoke", *words]) == 1
        told = capsys.readouterr().err
        assert told.startswith("it may not have been revoked; try again")
        server.command("CONFIG", "SET", "min-replicas-to-write", 0)
        assert main(["revoke", *words]) == 0
        store.close()
