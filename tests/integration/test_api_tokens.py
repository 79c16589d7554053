"""API tokens on a real store: who gets in with which text, until when, and under which name."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.bootstrap.core import SystemChance
from champion_gate.domain.callers import Caller, Role
from champion_gate.errors import (
    ConflictError,
    InvalidInputError,
    NotAuthenticatedError,
    NotFoundError,
    VendorUnavailableError,
)
from champion_gate.flow.api_tokens import PREFIX, ApiTokens, api_caller
from champion_gate.store import Store, open_store
from integration.gate_world import CountingChance, MovableClock
from integration.store_databases import SqliteDatabases

pytest_plugins = ("integration.store_fixtures",)

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def store(sqlite_databases: SqliteDatabases) -> Iterator[Store]:
    with open_store(sqlite_databases.migrated()) as opened:
        yield opened


@pytest.fixture
def tokens(store: Store, clock: MovableClock) -> ApiTokens:
    return ApiTokens(store, clock, CountingChance())


def make(tokens: ApiTokens, name: str = "ci-bot", role: Role = Role.VIEWER, days: int | None = 90) -> str:
    expires_at = None if days is None else tokens.clock.now() + days * DAY
    return tokens.create(name, role, expires_at=expires_at, created_by="ann")[1]


# --- the text ----------------------------------------------------------------------------------------------


def test_a_token_is_kept_as_a_hash_and_its_text_nowhere(tokens: ApiTokens, store: Store) -> None:
    token, text = tokens.create("ci-bot", Role.OPERATOR, expires_at=None, created_by="ann")
    token_id, _, secret = text.removeprefix(PREFIX).partition("_")
    assert text.startswith("cgate_")
    assert len(secret) == 64
    assert token_id == token.id
    assert store.api_token(token.id) == token
    assert token.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.name, token.role, token.created_by, token.last_used_at) == (
        "ci-bot",
        Role.OPERATOR,
        "ann",
        None,
    )
    assert secret not in repr(tokens.list())


def test_the_text_admits_its_token_and_its_use_is_seen(
    tokens: ApiTokens, store: Store, clock: MovableClock
) -> None:
    text = make(tokens)
    clock.move(hours=1)
    found = tokens.authenticate(text)
    assert found is not None
    assert found.name == "ci-bot"
    first = clock.now()
    for _ in range(3):
        clock.move(seconds=15)
        assert tokens.authenticate(text) is not None
    assert [each.last_used_at for each in tokens.list()] == [first]
    clock.move(seconds=15)
    assert tokens.authenticate(text) is not None
    assert [each.last_used_at for each in tokens.list()] == [clock.now()]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace(PREFIX, "CGATE_"),
        lambda text: text.removeprefix(PREFIX),
        lambda text: text.rpartition("_")[0],
        lambda text: text.rpartition("_")[0] + "_",
        lambda text: text.rpartition("_")[2],
        lambda text: text.replace("0", "\u0660"),  # another script's zero
        lambda text: text[:-1] + "x",
        lambda text: text + "," + text,
        lambda text: text * 10_000,
        lambda _: "",
        lambda _: "\x00",
        lambda _: "\ud800",
        lambda _: PREFIX,
    ],
)
def test_a_text_that_was_changed_admits_nobody(tokens: ApiTokens, change: object) -> None:
    text = make(tokens)
    assert callable(change)
    assert tokens.authenticate(change(text)) is None
    assert [each.last_used_at for each in tokens.list()] == [None]


def test_letters_of_another_case_admit_nobody(store: Store, clock: MovableClock) -> None:
    class Letters(CountingChance):
        def token(self) -> str:
            return super().token().replace("0", "a")

    tokens = ApiTokens(store, clock, Letters())
    text = make(tokens)
    assert tokens.authenticate(text) is not None
    head, _, secret = text.rpartition("_")
    assert tokens.authenticate(f"{head}_{secret.upper()}") is None
    assert tokens.authenticate(f"{head.upper().replace('CGATE', 'cgate')}_{secret}") is None


def test_another_tokens_secret_admits_nobody(tokens: ApiTokens) -> None:
    one, other = make(tokens, "one"), make(tokens, "other")
    assert tokens.authenticate(f"{one.rpartition('_')[0]}_{other.rpartition('_')[2]}") is None


@pytest.fixture(scope="module")
def unguessed(sqlite_databases: SqliteDatabases) -> Iterator[ApiTokens]:
    with open_store(sqlite_databases.migrated()) as opened:
        made = ApiTokens(opened, MovableClock(), SystemChance())
        make(made)
        yield made


@given(st.text(max_size=120) | st.from_regex(r"cgate_[a-z0-9]{16}_[a-z0-9]{64}", fullmatch=True))
def test_no_made_up_text_admits_anybody(unguessed: ApiTokens, text: str) -> None:
    assert unguessed.authenticate(text) is None


# --- until when --------------------------------------------------------------------------------------------


def test_a_token_counts_until_the_moment_of_its_expiry(tokens: ApiTokens, clock: MovableClock) -> None:
    text = make(tokens, days=1)
    clock.move(hours=23, minutes=59, seconds=59)
    assert tokens.authenticate(text) is not None
    clock.move(seconds=1)
    assert tokens.authenticate(text) is None


def test_a_token_without_an_expiry_counts_for_years(tokens: ApiTokens, clock: MovableClock) -> None:
    text = make(tokens, days=None)
    clock.move(days=3650)
    assert tokens.authenticate(text) is not None


def test_a_token_that_would_have_expired_already_is_not_made(tokens: ApiTokens) -> None:
    with pytest.raises(InvalidInputError, match="expired already"):
        tokens.create("ci-bot", Role.VIEWER, expires_at=tokens.clock.now(), created_by="ann")
    assert tokens.list() == ()


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_admits_nobody_at_once(tokens: ApiTokens, by: str) -> None:
    text, kept = make(tokens), make(tokens, "another")
    (meant,) = (each for each in tokens.list() if each.name == "ci-bot")
    assert tokens.revoke(meant.id if by == "id" else "ci-bot").id == meant.id
    assert tokens.authenticate(text) is None
    assert tokens.authenticate(kept) is not None
    revoked = {each.name: each.revoked_at for each in tokens.list()}
    assert revoked == {"ci-bot": tokens.clock.now(), "another": None}


def test_what_cannot_be_revoked_is_told(tokens: ApiTokens, clock: MovableClock) -> None:
    with pytest.raises(NotFoundError):
        tokens.revoke("nobody")
    make(tokens, days=1)
    (token,) = tokens.list()
    clock.move(days=2)
    with pytest.raises(NotFoundError, match="does not count any more"):
        tokens.revoke("ci-bot")  # an expired one of that name is not meant
    tokens.revoke(token.id)
    with pytest.raises(ConflictError, match="revoked before"):
        tokens.revoke(token.id)


def test_a_name_that_is_another_tokens_id_is_ambiguous(tokens: ApiTokens) -> None:
    make(tokens)
    (first,) = tokens.list()
    make(tokens, first.id)
    with pytest.raises(ConflictError, match="id of one token and the name of another"):
        tokens.revoke(first.id)
    assert [each.revoked_at for each in tokens.list()] == [None, None]


def test_a_row_that_was_deleted_admits_nobody(sqlite_databases: SqliteDatabases, clock: MovableClock) -> None:
    url = sqlite_databases.migrated()
    with open_store(url) as store:
        tokens = ApiTokens(store, clock, CountingChance())
        text = make(tokens)
        assert tokens.authenticate(text) is not None
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as by_hand:
            by_hand.execute("delete from api_tokens")
            by_hand.commit()
        assert tokens.authenticate(text) is None


# --- names -------------------------------------------------------------------------------------------------


def test_a_name_is_free_again_once_its_token_counts_no_more(tokens: ApiTokens, clock: MovableClock) -> None:
    old = make(tokens, days=1)
    with pytest.raises(ConflictError, match="named ci-bot already"):
        make(tokens)
    clock.move(days=1)
    new = make(tokens, days=1)
    assert tokens.authenticate(old) is None
    assert tokens.authenticate(new) is not None


@pytest.mark.parametrize("name", ["ci-bot", "x", "Jürgen Müller", "team/ml (nightly)", "n" * 100, "機械"])
def test_these_names_are_taken(tokens: ApiTokens, name: str) -> None:
    make(tokens, name)
    assert [each.name for each in tokens.list()] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "n" * 101,
        " ci",
        "ci ",
        "ci\nbot",
        "ci\x1b[2Jbot",
        "ci\u200bbot",
        "\u202etob-ic",
        "a\\b",
        "a\x00",
        "\ud800",
        "a\u00a0b",
        "\ufeffci",
        "\u3164",
        "\u2800",
        "\u0301",
        "ci\u0301\u0301\u0301",
    ],
)
def test_names_that_could_deceive_a_reader_are_refused(tokens: ApiTokens, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make(tokens, name)
    assert str(caught.value).isprintable()
    assert tokens.list() == ()


@pytest.mark.parametrize(
    "name",
    [
        "champion-gate",
        "Champion-Gate sweep",
        "outside champion-gate",
        "OUTSIDE",
        "\uff43hampion-gate",
        "champion\u2011gate",
    ],
)
def test_names_that_look_like_somebody_else_are_refused(tokens: ApiTokens, name: str) -> None:
    with pytest.raises(InvalidInputError, match="must not look like"):
        make(tokens, name)


# --- callers -----------------------------------------------------------------------------------------------


class People:
    """An issuer's verifier that knows one token."""

    def verify(self, unverified_token: str) -> tuple[str, Role, str]:
        if unverified_token == "away":
            raise VendorUnavailableError("the OIDC issuer", "does not answer")
        if unverified_token != "eyJ.good.token":
            raise NotAuthenticatedError("its signature is wrong")
        return "ann@example.com", Role.OPERATOR, "OIDC https://id.example.com 7"


def test_an_api_token_makes_a_caller_of_its_name_and_role(tokens: ApiTokens) -> None:
    text = make(tokens)
    (token,) = tokens.list()
    known = Caller("ci-bot", Role.VIEWER, f"API token {token.id}", "192.0.2.1")
    assert api_caller(tokens)(text, "192.0.2.1") == known
    assert api_caller(tokens, People().verify)(text, "192.0.2.1") == known
    assert api_caller(tokens)("eyJ.good.token", None) is None


def test_other_texts_go_to_the_issuer_and_api_tokens_never_do(tokens: ApiTokens) -> None:
    caller_of = api_caller(tokens, People().verify)
    assert caller_of("eyJ.good.token", None) == Caller(
        "ann@example.com", Role.OPERATOR, "OIDC https://id.example.com 7", None
    )
    with pytest.raises(NotAuthenticatedError):
        caller_of("eyJ.bad.token", None)
    with pytest.raises(VendorUnavailableError):
        caller_of("away", None)
    assert caller_of(f"{PREFIX}nothing", None) is None


def test_times_are_utc(tokens: ApiTokens) -> None:
    expires_at = datetime(2099, 1, 1, tzinfo=UTC)
    token, _ = tokens.create("ci-bot", Role.VIEWER, expires_at=expires_at, created_by="ann")
    assert token.expires_at == expires_at
    assert tokens.list() == (token,)
