"""The API's view of accounts: which one a login stands for, and who is kept from deciding."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from champion_gate.web.api.answers import Answer, Time
from champion_gate.web.api.requests import AcceptBody, IdentityPath, ReasonBody
from champion_gate.web.api.routes import GET, OPERATOR, POST, VIEWER, Answered, Operations, Route
from champion_gate.web.auth import caller

_ONE = "/identities/<provider>/<login>"


class TrainerAccountAnswer(Answer):
    """An account that is kept from deciding on what a trainer has made."""

    trainer: str = Field(description="Who that is to Databricks.")
    alias: Annotated[str | None, BeforeValidator(lambda alias: alias or None)] = Field(
        description="For which alias, as MODEL@ALIAS; null: for all."
    )
    user_id: str


class IdentityAnswer(Answer):
    """Which account a login stands for."""

    provider: str = Field(description="`github`, `github:<host>` or `gitlab`.")
    login: str
    user_id: str = Field(description="The vendor's numeric id of the account.")
    first_resolved_at: Time = Field(description="Since when it stands for this account.")
    last_resolved_at: Time = Field(description="When the vendor last said so, to the hour.")
    other_id: str | None = Field(
        description="The account that has the login now, until it is accepted; requests wait for that."
    )
    accounts: list[TrainerAccountAnswer] = Field(
        description="Every account that the login was resolved to for a trainer; none of them may decide."
    )


class IdentityList(Answer):
    """All logins that are remembered."""

    identities: list[IdentityAnswer]


class IdentityViews:
    """The views of logins."""

    def __init__(self, operations: Operations) -> None:
        self._identities = operations.identities

    @Route(GET, "/identities", "listIdentities", IdentityList, role=VIEWER)
    def identities(self) -> Answered:
        """List which accounts logins stand for."""
        return IdentityList(identities=[*map(IdentityAnswer.reading, self._identities.known())])

    @Route(POST, f"{_ONE}/accept", "acceptIdentity", IdentityAnswer, role=OPERATOR, errors=(404, 409))
    def accept(self, path: IdentityPath, body: AcceptBody) -> Answered:
        """Let a login stand for the account that has it now.

        For a login that another account has than before, which keeps requests waiting. The account that had
        it stays excluded where it was a trainer's. Recorded in the ledger. 409 where nothing is to be
        accepted.
        """
        accepted = self._identities.accept(
            path.provider, path.login, caller=caller(), reason=body.reason, user_id=body.user_id
        )
        return IdentityAnswer.reading(accepted)

    @Route(POST, f"{_ONE}/forget", "forgetIdentity", IdentityAnswer, role=OPERATOR, errors=(404, 409))
    def forget(self, path: IdentityPath, body: ReasonBody) -> Answered:
        """Forget what a login stood for; answers with what was remembered.

        None of its accounts is excluded because of it from what is asked from now on; a login that gates.yaml
        still names is resolved anew. Recorded in the ledger.
        """
        forgotten = self._identities.forget(path.provider, path.login, caller=caller(), reason=body.reason)
        return IdentityAnswer.reading(forgotten)
