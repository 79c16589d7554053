"""API tokens, CI jobs' tokens, and requests that may be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import text

from champion_gate.domain.approval import TokenUse
from champion_gate.domain.callers import ApiToken, Person, Role, Session
from champion_gate.errors import ConflictError
from champion_gate.store import Store
from champion_gate.store.engine import Database
from integration.store_samples import T0, after, api_token, promotion, repeatable

pytestmark = pytest.mark.part("rest", "postgresql")

pytest_plugins = ("integration.store_fixtures",)

A_DAY = timedelta(hours=24).total_seconds()


@contextmanager
def writes_refused(database_url: str) -> Iterator[None]:
    """Any write to an API token fails meanwhile."""
    database = Database(database_url)
    if database.is_sqlite:
        begin = ["CREATE TRIGGER frozen BEFORE UPDATE ON api_tokens BEGIN SELECT RAISE(ABORT, 'frozen'); END"]
        end = ["DROP TRIGGER frozen"]
    else:
        begin = [
            "CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'frozen'; END $$",
            "CREATE TRIGGER frozen BEFORE UPDATE ON api_tokens FOR EACH STATEMENT EXECUTE FUNCTION frozen()",
        ]
        end = ["DROP TRIGGER frozen ON api_tokens", "DROP FUNCTION frozen"]
    for statements in (begin, end):
        with database.write() as connection:
            for statement in statements:
                connection.execute(text(statement))
        if statements is begin:
            yield
    database.close()


class TestSessions:
    def test_each_is_found_as_it_was_begun_until_it_is_ended(self, store: Store) -> None:
        person = Person("jane", "https://login.example.com", "7", ("ml-readers", "on-call"))
        by_token = Session("a" * 64, "t1", None, T0, after(60))
        by_issuer = Session("b" * 64, None, person, T0, after(60))
        for each in (by_token, by_issuer):
            store.begin_session(each)
        assert store.session("a" * 64) == by_token
        assert store.session("b" * 64) == by_issuer
        assert store.session("' OR 1=1 --") is None
        store.end_session("a" * 64)
        store.end_session("c" * 64)
        assert store.session("a" * 64) is None
        assert store.session("b" * 64) == by_issuer

    def test_those_that_count_no_longer_are_forgotten_when_another_begins(self, store: Store) -> None:
        for number in (1, 2):
            store.begin_session(Session(str(number), "t1", None, T0, after(60 * number)))
        store.begin_session(Session("3", "t1", None, after(60), after(600)))
        assert store.session("1") is None
        assert store.session("2") is not None


class TestApiTokens:
    def test_one_is_found_as_it_was_made(self, store: Store) -> None:
        made = api_token(role=Role.OPERATOR, expires_at=after(10))
        store.create_api_token(made)
        assert store.api_token("t1") == made
        assert store.api_token("t2") is None
        assert store.api_token("' OR 1=1 --") is None

    def test_they_are_listed_newest_first_with_those_that_count_no_longer(self, store: Store) -> None:
        for number in range(3):
            store.create_api_token(api_token(f"t{number}", f"name {number}", created_at=after(number)))
        store.revoke_api_token("t1", after(9))
        listed = store.list_api_tokens()
        assert [token.id for token in listed] == ["t2", "t1", "t0"]
        assert listed[1].revoked_at == after(9)

    def test_a_name_is_borne_by_one_that_counts(self, store: Store) -> None:
        store.create_api_token(api_token())
        with pytest.raises(ConflictError, match="nightly report"):
            store.create_api_token(api_token("t2", expires_at=after(10)))
        assert [token.id for token in store.list_api_tokens()] == ["t1"]

    @pytest.mark.parametrize("end", ["revoked", "expired"])
    def test_a_name_is_free_again_when_its_token_counts_no_longer(self, store: Store, end: str) -> None:
        store.create_api_token(api_token(expires_at=after(10)))
        if end == "revoked":
            assert store.revoke_api_token("t1", after(1))
        else:
            with pytest.raises(ConflictError):
                store.create_api_token(api_token("t2", created_at=after(9.999999)))
        store.create_api_token(api_token("t2", created_at=after(10)))
        assert store.api_token("t2") is not None

    def test_an_id_is_given_once(self, store: Store) -> None:
        store.create_api_token(api_token())
        with pytest.raises(ConflictError, match="t1"):
            store.create_api_token(api_token(name="another"))
        kept = store.api_token("t1")
        assert kept is not None
        assert kept.name == "nightly report"

    def test_of_many_threads_one_gets_a_name(self, store: Store) -> None:
        start = Barrier(8)

        def create(number: int) -> bool:
            start.wait()
            try:
                store.create_api_token(api_token(f"t{number}"))
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))
        assert sum(won) == 1
        assert [token.id for token in store.list_api_tokens()] == [f"t{won.index(True)}"]

    def test_one_is_revoked_once_and_for_good(self, store: Store) -> None:
        store.create_api_token(api_token())
        assert store.revoke_api_token("t1", after(1))
        assert not store.revoke_api_token("t1", after(2))
        assert not store.revoke_api_token("t9", after(2))
        kept = store.api_token("t1")
        assert kept is not None
        assert kept.revoked_at == after(1)
        assert not kept.counts_at(after(1))

    def test_the_last_use_is_noted_once_a_minute(self, store: Store) -> None:
        store.create_api_token(api_token())
        seen = []
        for seconds in (5, 64.999999, 65, 70, 1000):
            store.note_api_token_use("t1", after(seconds))
            seen.append(self.last_use(store))
        assert seen == [after(5), after(5), after(65), after(65), after(1000)]

    def test_a_clock_that_goes_back_leaves_the_later_use(self, store: Store) -> None:
        store.create_api_token(api_token(last_used_at=after(500)))
        store.note_api_token_use("t1", after(100))
        assert self.last_use(store) == after(500)

    def test_a_use_within_the_minute_writes_nothing(self, store: Store, database_url: str) -> None:
        store.create_api_token(api_token(last_used_at=T0))
        with writes_refused(database_url):
            store.note_api_token_use("t1", after(59))
            with pytest.raises(Exception, match="frozen"):
                store.note_api_token_use("t1", after(60))

    def test_the_use_of_an_unknown_token_is_nothing(self, store: Store) -> None:
        store.note_api_token_use("t9", T0)
        assert store.list_api_tokens() == ()

    def test_odd_names_are_kept(self, store: Store) -> None:
        name = "<b>\u202e'; DROP TABLE api_tokens; -- \U0001f600"
        store.create_api_token(api_token(name=name, created_by="\x00"))
        (kept,) = store.list_api_tokens()
        assert (kept.name, kept.created_by) == (name, "\ufffd")
        with pytest.raises(ConflictError):
            store.create_api_token(api_token("t2", name=name))

    @staticmethod
    def last_use(store: Store) -> object:
        token: ApiToken | None = store.api_token("t1")
        return token.last_used_at if token is not None else "no token"


class TestTokensOfJobs:
    @pytest.fixture
    def known(self, store: Store) -> Store:
        for number in (1, 2):
            store.create_promotion(promotion(f"p-{number}", number))
        return store

    @staticmethod
    def bind(store: Store, promotion_id: str = "p-1", job: str = "approve", at: datetime = T0) -> TokenUse:
        return store.bind_token("issuer 1", promotion_id=promotion_id, job=job, expires_at=after(60), at=at)

    def test_one_is_new_once(self, known: Store) -> None:
        assert self.bind(known) is TokenUse.FIRST
        assert self.bind(known) is TokenUse.AGAIN

    @pytest.mark.parametrize("elsewhere", [{"promotion_id": "p-2"}, {"job": "another"}])
    def test_one_decides_nothing_else(self, known: Store, elsewhere: dict[str, str]) -> None:
        self.bind(known)
        assert self.bind(known, **elsewhere) is TokenUse.ELSEWHERE  # type: ignore[arg-type] # two texts

    def test_one_is_forgotten_when_it_could_not_be_posted_any_more(self, known: Store) -> None:
        self.bind(known)
        assert self.bind(known, "p-2", at=after(60)) is TokenUse.ELSEWHERE
        assert self.bind(known, "p-2", at=after(61)) is TokenUse.FIRST

    def test_of_many_threads_one_is_first(self, known: Store) -> None:
        start = Barrier(8)

        def bind(_: int) -> TokenUse:
            start.wait()
            return self.bind(known)

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(bind, range(8)))
        assert (found.count(TokenUse.FIRST), found.count(TokenUse.AGAIN)) == (1, 7)


class TestRepeatableRequests:
    def test_a_new_one_is_carried_out(self, store: Store) -> None:
        assert store.begin_request(repeatable(), T0) is None

    def test_one_under_way_is_returned_without_an_answer(self, store: Store) -> None:
        store.begin_request(repeatable(), T0)
        assert store.begin_request(repeatable(fingerprint="0" * 64), after(1)) == repeatable()

    def test_an_answered_one_is_returned_with_its_answer(self, store: Store) -> None:
        store.begin_request(repeatable(), T0)
        store.finish_request(repeatable(status=201, answer='{"body": "…"}'))
        known = store.begin_request(repeatable(), after(1))
        assert known == repeatable(status=201, answer='{"body": "…"}')

    def test_the_first_answer_stays(self, store: Store) -> None:
        store.begin_request(repeatable(), T0)
        store.finish_request(repeatable(status=201, answer="first"))
        store.finish_request(repeatable(status=500, answer="second"))
        store.forget_request(repeatable())
        assert store.begin_request(repeatable(), T0) == repeatable(status=201, answer="first")

    def test_one_that_did_nothing_may_come_again(self, store: Store) -> None:
        store.begin_request(repeatable(), T0)
        store.forget_request(repeatable())
        assert store.begin_request(repeatable(), after(1)) is None

    def test_another_request_under_the_same_key_touches_nothing(self, store: Store) -> None:
        store.begin_request(repeatable(), T0)
        other = repeatable(fingerprint="0" * 64)
        store.finish_request(replace(other, status=200, answer="other"))
        store.forget_request(other)
        assert store.begin_request(repeatable(), T0) == repeatable()

    def test_keys_are_apart(self, store: Store) -> None:
        assert store.begin_request(repeatable("ann /a k"), T0) is None
        assert store.begin_request(repeatable("bob /a k"), T0) is None

    def test_what_was_never_begun_is_neither_answered_nor_forgotten(self, store: Store) -> None:
        store.finish_request(repeatable(status=200, answer="x"))
        store.forget_request(repeatable("another"))
        assert store.begin_request(repeatable(), T0) is None

    def test_they_are_forgotten_after_a_day(self, store: Store) -> None:
        store.begin_request(repeatable("old"), T0)
        store.finish_request(repeatable("old", status=200, answer="x"))
        store.begin_request(repeatable("cut off"), T0)
        assert store.begin_request(repeatable("old"), after(A_DAY - 0.000001)) is not None
        assert store.begin_request(repeatable("new"), after(A_DAY)) is None
        assert store.begin_request(repeatable("old"), after(A_DAY)) is None
        assert store.begin_request(repeatable("cut off"), after(A_DAY)) is None

    def test_of_many_threads_one_carries_it_out(self, store: Store) -> None:
        start = Barrier(8)

        def begin(_: int) -> object:
            start.wait()
            return store.begin_request(repeatable(), T0)

        with ThreadPoolExecutor(8) as pool:
            known = list(pool.map(begin, range(8)))
        assert known.count(None) == 1
        assert known.count(repeatable()) == 7

    def test_threads_that_do_nothing_and_forget_leave_it_to_the_next(self, store: Store) -> None:
        def carry_out(number: int) -> int:
            begun = 0
            for _ in range(10):
                if store.begin_request(repeatable(), after(number)) is None:
                    begun += 1
                    store.forget_request(repeatable())
            return begun

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(carry_out, range(6))) >= 10
        assert store.begin_request(repeatable(), T0) is None
