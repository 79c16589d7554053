"""The Store's part that keeps promotions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import EndRequest, FollowUp, Phase, Promotion
from champion_gate.domain.store import Page
from champion_gate.store import leases, promotions, tables
from champion_gate.store.sql_base import SqlBase, append


class SqlPromotions(SqlBase):
    """Promotions and the leases on them."""

    def create_promotion(self, promotion: Promotion) -> Promotion | None:
        """Insert it; None where one is open already for the same (registry, model, version, alias)."""
        with self._write() as connection:
            return promotions.create(connection, promotion)

    def get_promotion(self, promotion_id: str) -> Promotion:
        """One row; raises NotFoundError."""
        with self._read() as connection:
            return promotions.find(connection, promotion_id)

    def promotions_of_version(self, key: AliasKey, version: str) -> tuple[Promotion, ...]:
        """All promotions, open and ended, of one version for one alias, newest first."""
        with self._read() as connection:
            return promotions.of_version(connection, key, version)

    def open_promotions(self, key: AliasKey) -> tuple[Promotion, ...]:
        """All open promotions for one alias, oldest first."""
        with self._read() as connection:
            return promotions.open_for(connection, key)

    def pending_promotions(self) -> tuple[Promotion, ...]:
        """All promotions in `pending_approval`, oldest first."""
        with self._read() as connection:
            return promotions.pending(connection)

    def promotions_with_request(self, external_id: str) -> tuple[Promotion, ...]:
        """Open promotions whose request has this vendor's id, at whatever provider."""
        with self._read() as connection:
            return promotions.with_request(connection, external_id)

    def list_promotions(
        self,
        *,
        model: str | None = None,
        phase: Phase | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Promotion]:
        """Newest first."""
        with self._read() as connection:
            return promotions.find_page(connection, model, phase, cursor, limit)

    def take_promotion(self, promotion_id: str, at: datetime, lease_seconds: float) -> Promotion | None:
        """Lease an open, due row."""
        with self._write() as connection:
            return promotions.take(connection, promotion_id, at, lease_seconds, self._token())

    def keep_promotion(self, taken: Promotion, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
        with self._write() as connection:
            leases.keep(
                connection,
                tables.promotions,
                taken.id,
                token=taken.lease,
                at=at,
                lease_seconds=lease_seconds,
            )

    def save_promotion(
        self,
        taken: Promotion,
        at: datetime,
        *,
        release: bool = False,
        ledger: Sequence[LedgerEntry] = (),
        follow_ups: Sequence[FollowUp] = (),
    ) -> Promotion:
        """Write a taken promotion with its ledger lines and follow-ups, all or nothing.

        Raises:
            LeaseLostError: another holds it.
            ConflictError: its phase cannot follow the stored one (`core.promotion.TRANSITIONS`).
        """
        with self._write() as connection:
            saved = promotions.save(connection, taken, at, release=release)
            append(connection, ledger, follow_ups)
            return saved

    def hint_promotion(self, promotion_id: str, at: datetime) -> None:
        """Due now, or as soon as the present holder gives it back; nothing for one that is not open."""
        with self._write() as connection:
            promotions.hint(connection, promotion_id, at)

    def request_end(self, promotion_id: str, end: EndRequest) -> bool:
        """Order the end of an open promotion that has not been ordered to end yet. False if not."""
        with self._write() as connection:
            return promotions.request_end(connection, promotion_id, end)

    def retry_promotion(self, promotion_id: str, at: datetime, reason: str) -> bool:
        """FAILED -> the phase it failed from, all counters reset, due at once. False if it is not FAILED.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: another promotion of its version is open by now.
        """
        with self._write() as connection:
            return promotions.retry(connection, promotion_id, at, reason)
