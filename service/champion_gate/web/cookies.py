"""The pages' two cookies, and the tokens that their forms bear.

Both hold random text that nobody else has, so they are secrets enough: what a form must show is made of the cookie
of the browser that it was made for, and no key has to be configured. `__Host-` keeps other hosts of the same domain
from planting one (RFC 6265bis, 4.1.3.2). Browsers take `Secure` cookies over http from their own machine only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import timedelta

from flask import Response, request

SESSION, VISITOR = "__Host-champion-gate", "__Host-champion-gate-visitor"
FORM_FIELD = "form_token"
VISIT_LASTS = timedelta(hours=1)
_SECRET = re.compile(r"[a-z0-9]{32,64}")


def secret_in(name: str) -> str | None:
    """What the browser has in this cookie; None where it has nothing of ours."""
    text = request.cookies.get(name, "")
    return text if _SECRET.fullmatch(text) else None


def give(response: Response, name: str, secret: str, lasts: timedelta) -> None:
    """Let the browser keep a secret."""
    seconds = int(lasts.total_seconds())
    response.set_cookie(name, secret, max_age=seconds, path="/", secure=True, httponly=True, samesite="Lax")


def take(response: Response, name: str) -> None:
    """Let the browser forget it."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")


def derived(secret: str, purpose: str) -> str:
    """Text of 43 characters that is made of a secret for one purpose, and tells nothing of it."""
    digest = hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def form_token(secret: str) -> str:
    """What a form must show, that was made for the browser with this cookie."""
    return derived(secret, "form")


def is_own_form(secret: str | None) -> bool:
    """Whether the form in hand was made for this browser, as far as that can be told also by the browser."""
    # Browsers of before 2023 may not say (Fetch Metadata, 2.4); the token counts in any case.
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    given = request.form.get(FORM_FIELD, "")
    return secret is not None and hmac.compare_digest(given.encode(), form_token(secret).encode())
