"""Every error of the service: what happened, whether repeating helps, what a person should do.

Vendors' exceptions are translated into these at the adapters' edge; `web` turns them into
`application/problem+json`, the command line into one line and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence


class GateError(Exception):
    """Base of all our errors.

    Attributes:
        code: stable machine-readable name, sent to clients.
        status: the HTTP status with which a request that met this error is answered.
        retryable: whether the same call may succeed later without anybody changing anything.
        hint: what the person who reads it should do; may be empty.
        longest_pause: seconds after which another try is worth it, however many have failed; None for no such bound.
    """

    code = "internal"
    status = 500
    retryable = False
    longest_pause: float | None = None

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UnexpectedError(GateError):
    """A fault of our own, kept from stranding the work: it is tried again and then shown to a person."""

    retryable = True

    @classmethod
    def of(cls, error: Exception) -> UnexpectedError:
        """Wrap what was raised; its text stays in our log, for it may hold what nobody else should read."""
        return cls(f"internal error ({type(error).__name__})", hint="See the service's log.")


class ConfigurationError(GateError):
    """The settings or gates.yaml cannot be used; names every problem at once. Exit code 2."""

    code = "configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "The configuration cannot be used:\n" + "\n".join(f"  - {line}" for line in problems)
        )
        self.problems = problems


class InvalidInputError(GateError):
    """Something given from outside is not of the form that we take."""

    code = "invalid_input"
    status = 422


class InvalidNameError(InvalidInputError):
    """A model, alias or version name that must not enter a URL."""

    code = "invalid_name"


class NotAuthenticatedError(GateError):
    """No or wrong credentials."""

    code = "not_authenticated"
    status = 401


class NotPermittedError(GateError):
    """The caller is known, and may not do this."""

    code = "not_permitted"
    status = 403


class TooManyAttemptsError(GateError):
    """Wrong credentials too often of late."""

    code = "too_many_attempts"
    status = 429
    retryable = True


class TooLargeError(GateError):
    """A body over its cap."""

    code = "too_large"
    status = 413


class NotFoundError(GateError):
    """One of our own rows does not exist."""

    code = "not_found"
    status = 404


class ConflictError(GateError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"
    status = 409


class OnHoldError(ConflictError):
    """A hold keeps the alias where it is."""

    code = "on_hold"


class PreconditionFailedError(GateError):
    """What the caller said of the thing is not so any more (`If-Match`)."""

    code = "precondition_failed"
    status = 412


class StoreUnavailableError(GateError):
    """The database cannot be used, or did not take what was to be stored: nothing has been acknowledged."""

    code = "store_unavailable"
    status = 503
    retryable = True


class LeaseLostError(GateError):
    """Another worker holds the row now; whoever sees this stops and writes nothing more."""

    code = "lease_lost"
    status = 409
    retryable = True


class OlderReplicaError(GateError):
    """What was to be written would not be known to a replica of an older release that is still running."""

    code = "older_replica"
    status = 503
    retryable = True
    longest_pause = 10.0


class VendorError(GateError):
    """A call to Databricks, MLflow, GitHub or another system around us did not give what was asked.

    Attributes:
        vendor: the system's name in words, e.g. "GitHub" or "Databricks".
        outcome_unknown: the call may have been carried out although no answer came.
    """

    code = "vendor"
    status = 502

    def __init__(self, vendor: str, message: str, *, hint: str = "", outcome_unknown: bool = False) -> None:
        super().__init__(f"{vendor}: {message}", hint=hint)
        self.vendor = vendor
        self.outcome_unknown = outcome_unknown


class VendorUnavailableError(VendorError):
    """Time-out, refused connection, 429, 5xx or an unreadable answer: the same call may work later.

    Attributes:
        retry_after: seconds the vendor asked us to wait, if it did.
    """

    code = "vendor_unavailable"
    status = 503
    retryable = True

    def __init__(
        self,
        vendor: str,
        message: str,
        *,
        hint: str = "",
        outcome_unknown: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(vendor, message, hint=hint, outcome_unknown=outcome_unknown)
        self.retry_after = retry_after


class VendorRefusedError(VendorError):
    """400, 401, 403 or 422: repeating does not help until a person changes something.

    Attributes:
        concerns_all: every call is refused like this one (credentials, network rules, a wrong address), so it says
            nothing about what was asked for; work waits for the mending, as it does for a vendor that is away.
        of_write: what was refused would have changed something, and is not sent again by itself.
    """

    code = "vendor_refused"
    of_write = False

    def __init__(
        self,
        vendor: str,
        message: str,
        *,
        hint: str = "",
        outcome_unknown: bool = False,
        concerns_all: bool = False,
    ) -> None:
        super().__init__(vendor, message, hint=hint, outcome_unknown=outcome_unknown)
        self.concerns_all = concerns_all


class ForbiddenError(VendorRefusedError):
    """403: our credentials are taken, and may not do this."""


class NeverTakenError(VendorRefusedError):
    """The receiver is gone, or will take this never: it is not sent again by itself."""


class TooLongListError(VendorRefusedError):
    """A list of more pages than are read; half of one says nothing of who or what is not in it."""


class VendorNotFoundError(VendorRefusedError):
    """404: absent, or not visible to our credentials (vendors do not tell the two apart)."""

    code = "vendor_not_found"


class VersionMissingError(VendorUnavailableError):
    """404 for a version, and the list of versions lacks it: it is gone if that is so for a while."""

    code = "version_missing"


class RequestGoneError(VendorNotFoundError):
    """404, although the list in which the request would stand can be read, and lacks it."""

    code = "request_gone"


class UnsafeTargetError(GateError):
    """The place where people would approve does not protect the approval (yet).

    Raised before opening a request; the promotion stays `requested` and is checked again.

    Attributes:
        problems: each a sentence or more, with what to change and where.
    """

    code = "unsafe_target"
    status = 409

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message or " ".join(problems), hint=hint)
        self.problems = tuple(problems)
