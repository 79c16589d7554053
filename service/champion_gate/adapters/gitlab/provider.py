"""GitLab CI/CD as the place where people approve: a pipeline whose gated manual job waits for them."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

from champion_gate.adapters.ci_provider import CiProvider, Key, doubles_of, in_titles, inputs_of, opened
from champion_gate.adapters.gitlab import place as places
from champion_gate.adapters.gitlab import reading, starts
from champion_gate.adapters.gitlab.api import LIMITS, ProjectApi, person, read_seen
from champion_gate.adapters.gitlab.auth import own_account, tokens_of
from champion_gate.adapters.gitlab.models import StartedPipeline, gitlab
from champion_gate.adapters.gitlab.people import People
from champion_gate.adapters.gitlab.secrets import GitLabTokens
from champion_gate.adapters.gitlab.settings import GitLabPlace, check_login, check_number
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.adapters.starts import SeenRun, spans
from champion_gate.domain.approval import FoundRequests, News, OpenedRequest, RequestState
from champion_gate.domain.gates import Account, ApprovalTarget
from champion_gate.domain.names import joined
from champion_gate.domain.ports.approval import Accounts, Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.screen import as_text
from champion_gate.domain.together import Together
from champion_gate.errors import (
    UnsafeTargetError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

__all__ = ["GitLab", "GitLabTokens"]

_PLAIN = re.compile(r"[A-Za-z0-9_.@+=~-]")
_LOG_COLUMNS = 78  # of 80, without the bar that the template puts before each line
_MAX_BYTES = 65_000
"""Of the evidence: as base64 it stays below the 128 KiB that Linux allows one environment variable of a job."""


class GitLab(CiProvider[ProjectApi]):
    """An ApprovalProvider on GitLab's REST API, gitlab.com or self-managed. Safe to share between threads.

    Approvals of a deployment do not show in lists of pipelines; what shows is that the job starts, or that a
    rejection has failed it.
    """

    waiting = reading.WAITING

    def __init__(
        self,
        *,
        url: str,
        credentials: GitLabTokens,
        clock: Clock,
        gate_url: str,
        ca_file: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        together: Together | None = None,
        timeouts: Timeouts | None = None,
        name: str = "gitlab",
        previous: GitLabTokens | None = None,
        accounts: Accounts | None = None,
        timed: Timed = untimed,
    ) -> None:
        """Nothing is called yet.

        Args:
            url: of the instance, sub-path included: https://gitlab.com, or https://HOST/gitlab.
            credentials: the tokens with which we act.
            clock: tells whether a trigger token has expired.
            gate_url: our own address, as CI jobs reach it.
            ca_file: PEM file of certificate authorities.
            sleep: pauses between tries.
            together: makes calls at the same time that do not need each other; None takes threads of its own.
            timeouts: of every call.
            name: the key under which gates refer to this provider.
            timed: takes the time of each call.
            previous: access tokens to use where GitLab refuses the current ones, while they are replaced.
            accounts: remembers whose the usernames in gates.yaml are; None takes whoever has them now.

        Raises:
            ConfigurationError: one of these cannot be used.
        """
        self._accounts = accounts
        self.tokens = tokens_of(credentials, previous)
        client = ApiClient(
            vendor="GitLab",
            base_url=f"{url.rstrip('/')}/api/v4",
            headers={"Accept": "application/json", "User-Agent": "champion-gate"},
            ca_file=ca_file,
            timeouts=timeouts,
            sleep=sleep,
            limits=LIMITS,
            timed=timed,
        )
        super().__init__(name, client)
        self._together = together or Together()
        self.clock = clock
        self._gate_url = gate_url.rstrip("/")

    def check(self) -> None:
        """Calls that GitLab refuses if an access token is wrong. A trigger token can only be tried by using it."""
        for auth in (self.tokens.read, self.tokens.api):
            if auth is not None:
                person(self.client.get(joined("user"), auth=auth))

    # --- before anybody is asked ------------------------------------------------------------------------------

    def check_place(
        self, target: ApprovalTarget, expires_after: timedelta | None = None
    ) -> Mapping[str, str]:
        """See ApprovalProvider; the pins are numeric ids as strings."""
        del expires_after  # GitLab's environments have no timers to compare it with
        api = self.api(target)
        looked = places.survey(api, People(api), self.clock.now())
        if looked.problems:
            raise UnsafeTargetError("", problems=looked.problems) from looked.refused
        return looked.pins

    def find_person(self, target: ApprovalTarget, login: str) -> Person:
        """See ApprovalProvider; UnsafeTargetError where our credentials do not let us ask."""
        api = self.api(target)
        try:
            found = api.user_named(check_login(login))
            whole = api.user(found.user_id)
        except VendorNotFoundError:
            raise
        except VendorRefusedError as refused:
            raise UnsafeTargetError(str(refused)) from refused
        if whole.bot is not False:
            raise VendorNotFoundError("GitLab", f"{login} is a bot's account, no person's.")
        return replace(found, name=whole.name)

    def may_approve(self, target: ApprovalTarget) -> Sequence[frozenset[str]]:
        """See ApprovalProvider: whom the approval rules name; where there are none, who may run the job."""
        api = self.api(target)
        people = People(api)
        looked = places.survey(api, people, self.clock.now())
        if looked.problems:
            raise UnsafeTargetError("", problems=looked.problems) from looked.refused
        rules, listed = looked.rules, looked.approver_ids
        own = frozenset(looked.pins["openers"].split(","))
        anybody = rules.deployers or (*rules.push, *rules.merge)
        # With the older, unified setting the first line has the number for all of them.
        unified = any(not rule.approvals for rule in rules.approvers)
        slots = [
            rules.approvers if unified else (rule,) for rule in rules.approvers for _ in range(rule.approvals)
        ]
        found = [people.admitted(each) for each in slots or [anybody]]
        return [(each & listed if listed else each) - own for each in found]

    # --- asking -----------------------------------------------------------------------------------------------

    def open(self, target: ApprovalTarget, promotion: Promotion, evidence: str) -> OpenedRequest | None:
        """See ApprovalProvider: start the pipeline, once."""
        api = self.api(target)
        inputs = _inputs_of(
            promotion, environment=api.spot.environment, gate_url=self._gate_url, evidence=evidence
        )
        return _opened(api.start(inputs))

    def find(self, target: ApprovalTarget, promotion: Promotion) -> FoundRequests:
        """The pipelines that we started for this promotion; none to be cancelled where nothing of ours may."""
        api = self.api(target)
        started = starts.created_by_us(api, promotion, self._starter(api, promotion))
        found = started.found(starts.remark(started))
        return found if self.tokens.api is not None else replace(found, outdated=())

    def _starter(self, api: ProjectApi, promotion: Promotion) -> tuple[str, str]:
        """As whom and in which way the promotion's pipelines were started: username and source."""
        login, source = _pinned_starter(promotion)
        if login and source:
            return login, source
        return own_account(api, self.clock.now()).login, api.tokens.source

    # --- deciding ---------------------------------------------------------------------------------------------

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """See ApprovalProvider: the pipeline, the place, the gated job and its deployment; nothing of that is cached."""
        request = promotion.request
        if request is None or request.external_id is None:
            raise VendorRefusedError("GitLab", f"promotion {promotion.id} has no pipeline to be read.")
        api, pipeline_id = self.api(target), _checked_id(request.external_id)
        asked_at = min(promotion.requested_at, request.intent_at)
        try:
            return reading.state_of(api, pipeline_id, request.pins, asked_at, self.clock.now())
        except VendorNotFoundError:
            starts.check_gone(api, pipeline_id, request)
            raise

    def duplicates(self, target: ApprovalTarget, promotion: Promotion) -> tuple[str, ...]:
        """Other pipelines of ours for it that have not ended; where it was started once, that wait for people.

        None where nothing of ours may cancel.
        """
        if self.tokens.api is None:
            return ()
        api, request = self.api(target), promotion.request
        starter = self._starter(api, promotion)
        if request is not None and request.starts > 1:
            return starts.created_by_us(api, promotion, starter).open_ones_but({request.external_id})
        waiting = api.waiting_pipelines(*starter)
        return doubles_of(promotion, starts.with_names(api, waiting))

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """See ApprovalProvider.

        Raises:
            VendorRefusedError: nothing of ours may cancel, or this GitLab leaves manual jobs playable
                (gitlab-org/gitlab issues 9082, 460256). What is played then is never believed.
            VendorUnavailableError: GitLab took the call but the pipeline goes on; to be tried again.
        """
        api, pipeline_id = self.api(target), _checked_id(external_id)
        status = api.pipeline(pipeline_id).status
        if status in reading.ENDED | reading.CANCELLED:
            return
        if self.tokens.api is None:
            raise VendorRefusedError(
                "GitLab",
                f"pipeline {pipeline_id} is left open: cancelling takes an access token with scope api.",
                hint="Cancel it by hand; nothing that happens there counts any more.",
            )
        answer = api.cancel(pipeline_id, self.tokens.api)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise answer.error()
        # Not the pipeline's status: GitLab computes that later.
        left = {job.status for job in api.jobs(pipeline_id)} - reading.ENDED - reading.CANCELLED
        if "manual" in left:
            raise VendorRefusedError(
                "GitLab", f"it leaves the manual job of the cancelled pipeline {pipeline_id} playable."
            )
        if left:
            raise VendorUnavailableError(
                "GitLab", f"pipeline {pipeline_id} could not be cancelled as a whole."
            )

    # --- looking for news -------------------------------------------------------------------------------------

    def api(self, target: ApprovalTarget) -> ProjectApi:
        """See CiProvider."""
        spot = GitLabPlace.of(target.place)
        return ProjectApi(self.client, self.tokens, spot, self._remembered, self._together)

    def _list_key(self, api: ProjectApi, promotion: Promotion) -> Key:
        return (str(api.spot.project), api.spot.ref, *_pinned_starter(promotion))

    def with_news(self, pending: Sequence[Promotion], targets: Mapping[str, ApprovalTarget]) -> News:
        """See ApprovalProvider; nothing else where nothing of ours may cancel it."""
        news = super().with_news(pending, targets)
        return news if self.tokens.api is not None else replace(news, asking={})

    def _waiting_runs(self, api: ProjectApi, promotion: Promotion) -> list[SeenRun]:
        bot, source = _pinned_starter(promotion)
        if not bot or not source:
            raise VendorRefusedError("GitLab", "whose pipelines to list was not stored.")
        return api.waiting_pipelines(bot, source)

    def _runs_of(self, api: ProjectApi, promotions: Sequence[Promotion]) -> list[SeenRun]:
        starter = _pinned_starter(promotions[0])
        return [run for when in spans(promotions) for run in api.pipelines(*starter, *when, read_seen)]

    def _remembered(self, named: Account, find: Callable[[], Person]) -> Person:
        return find() if self._accounts is None else self._accounts.account(self.name, named, find)


def _checked_id(pipeline_id: str) -> str:
    return check_number(pipeline_id, "pipeline")


def _pinned_starter(promotion: Promotion) -> tuple[str, str]:
    pins = promotion.request.pins if promotion.request else {}
    return pins.get("bot_login", ""), pins.get("source", "")


def _opened(answer: Answer) -> OpenedRequest:
    def read() -> OpenedRequest:
        made = gitlab.one(StartedPipeline, answer.json(), "pipeline")
        return OpenedRequest(made.id, made.web_url)

    return opened("GitLab", "a pipeline was started", read)


def _inputs_of(promotion: Promotion, *, environment: str, gate_url: str, evidence: str) -> dict[str, str]:
    """The inputs; evidence that is too long is cut, with a note.

    It travels as base64, because GitLab puts inputs into the file's text before reading that as YAML
    (lib/gitlab/ci/config/interpolation/text_template.rb).
    """
    inputs = inputs_of(
        promotion,
        as_text(evidence, _LOG_COLUMNS),
        more={"environment": environment, "gate_url": gate_url},
        most=_MAX_BYTES,
        vendor="GitLab",
    )
    shown = inputs.pop("evidence").encode(errors="replace")
    return inputs | {
        "model": in_titles(spelled(promotion.model)),
        "evidence_base64": base64.b64encode(shown).decode(),
    }


def spelled(model: str) -> str:
    """The model's name as the pipeline's name and button show it; the evidence has the name itself.

    GitLab puts it into the text of the CI file, whose expression lets no blank and little punctuation in: what is
    not of that form is written as `=20` (RFC 2045, section 6.7), so that two names never look alike.
    """
    if all(_PLAIN.fullmatch(char) for char in model):
        return model
    return "".join(char if _PLAIN.fullmatch(char) and char != "=" else _quoted(char) for char in model)


def _quoted(char: str) -> str:
    return "".join(f"={byte:02X}" for byte in char.encode())
