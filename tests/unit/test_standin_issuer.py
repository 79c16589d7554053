"""The stand-in's issuer under several threads, as the vendors' are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import jwt

from champion_gate_standins.common.issuer import Issuer

_THREADS = 8


def test_those_who_ask_for_the_first_key_at_once_are_given_one_that_is_published() -> None:
    issuer = Issuer(lambda: datetime.now(UTC), lambda: "http://127.0.0.1", discovery="/d", keys="/k")
    together = Barrier(_THREADS)

    def sign(_: int) -> str:
        together.wait(10)
        return issuer.sign({}, lifetime=60, not_before=0)

    with ThreadPoolExecutor(_THREADS) as pool:
        used = {jwt.get_unverified_header(token)["kid"] for token in pool.map(sign, range(_THREADS))}
    assert used == {key.kid for key in issuer.published}
    assert len(used) == 1
