"""The API's view of accounts: which one a login stands for, and who is kept from deciding."""

from __future__ import annotations

from flask import Response, jsonify

from champion_gate.domain.callers import Role
from champion_gate.web.api.json_bodies import BODY_CAP
from champion_gate.web.api.operations import Operations
from champion_gate.web.api.requests import AcceptBody, IdentityPath, ReasonBody
from champion_gate.web.api.views import identity_view
from champion_gate.web.auth import Auth, caller, guarded


class IdentityViews:
    """The views of logins."""

    def __init__(self, operations: Operations) -> None:
        self._identities = operations.identities

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def identities(self) -> Response:
        """List which accounts logins stand for."""
        return jsonify({"identities": [identity_view(each) for each in self._identities.known()]})

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def accept(self, path: IdentityPath, body: AcceptBody) -> Response:
        """Let a login stand for the account that has it now."""
        accepted = self._identities.accept(
            path.provider, path.login, caller=caller(), reason=body.reason, user_id=body.user_id
        )
        return jsonify(identity_view(accepted))

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def forget(self, path: IdentityPath, body: ReasonBody) -> Response:
        """Forget what a login stood for; answers with what was remembered."""
        forgotten = self._identities.forget(path.provider, path.login, caller=caller(), reason=body.reason)
        return jsonify(identity_view(forgotten))
