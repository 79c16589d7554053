"""The read-only API, `/api/v1`: promotions and their evidence."""

from __future__ import annotations

import json
import re

from flask import Response, jsonify, request

from champion_gate.core.evidence_markdown import render_markdown
from champion_gate.core.promotion import Phase, Promotion
from champion_gate.core.store import Store
from champion_gate.errors import InvalidInputError, NotFoundError
from champion_gate.web.auth import Auth, guarded
from champion_gate.web.views import promotion_view

MARKDOWN_LIMIT = 60_000
_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_LIST_PARAMETERS = frozenset({"model", "phase", "cursor", "limit"})
_PROMOTION_ID = re.compile(r"[a-z0-9-]{1,64}")


class Api:
    """The views behind `/api/v1`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @guarded(Auth.BEARER)
    def promotions(self) -> Response:
        """List promotions, newest first; `cursor` of the answer asks for the next part."""
        unknown = sorted(set(request.args) - _LIST_PARAMETERS)
        if unknown:
            raise InvalidInputError(
                f"There is no parameter {unknown[0]!r}.", hint=f"Use {', '.join(sorted(_LIST_PARAMETERS))}."
            )
        page = self._store.list_promotions(
            model=request.args.get("model"),
            phase=_phase(request.args.get("phase")),
            cursor=request.args.get("cursor"),
            limit=_limit(request.args.get("limit")),
        )
        return jsonify({"promotions": [promotion_view(each) for each in page.items], "cursor": page.cursor})

    @guarded(Auth.BEARER)
    def promotion(self, promotion_id: str) -> Response:
        """Show one promotion."""
        return jsonify(promotion_view(self._find(promotion_id)))

    @guarded(Auth.BEARER)
    def evidence(self, promotion_id: str) -> Response:
        """Give out the evidence byte for byte as it was frozen, so that its sha256 can be recomputed."""
        text, digest = self._evidence(promotion_id)
        response = Response(text, content_type="application/json")
        response.set_etag(digest)
        return response

    @guarded(Auth.BEARER)
    def evidence_markdown(self, promotion_id: str) -> Response:
        """Give out the evidence as the reviewer sees it."""
        text, digest = self._evidence(promotion_id)
        markdown = render_markdown(json.loads(text), digest, MARKDOWN_LIMIT)
        return Response(markdown, content_type="text/markdown; charset=utf-8")

    def _find(self, promotion_id: str) -> Promotion:
        if not _PROMOTION_ID.fullmatch(promotion_id):
            raise NotFoundError("There is no such promotion.")
        return self._store.get_promotion(promotion_id)

    def _evidence(self, promotion_id: str) -> tuple[str, str]:
        promotion = self._find(promotion_id)
        if promotion.evidence_json is None or promotion.evidence_sha256 is None:
            raise NotFoundError(
                "This promotion has no evidence yet.", hint="It is frozen just before approval is asked for."
            )
        return promotion.evidence_json, promotion.evidence_sha256


def _phase(given: str | None) -> Phase | None:
    if given is None:
        return None
    try:
        return Phase(given)
    except ValueError:
        raise InvalidInputError(
            f"{given!r} is no phase.", hint="Use one of " + ", ".join(each.value for each in Phase) + "."
        ) from None


def _limit(given: str | None) -> int:
    if given is None:
        return _DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= _MAX_LIMIT:
        raise InvalidInputError(f"{given!r} is no limit.", hint=f"Use a number from 1 to {_MAX_LIMIT}.")
    return int(given)
