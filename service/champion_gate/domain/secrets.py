"""What looks like a secret: the second wall, behind never writing one down."""

from __future__ import annotations

import re

BLOT = "[redacted]"
_PEM = re.compile(r"-----BEGIN .*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
# With a password, or a token in the name's place.
_IN_ADDRESS = re.compile(r"(?<=//)(?:[^/\s:@]*:[^/\s@]+|[^/?#\s@]+)(?=@)")
# Words of prose follow "basic" and "token" too: what has only small letters must be long to count.
# Whoever knows such an address may post there: Slack's webhooks, and the signature in those of Power Automate.
_HOOK = re.compile(r"(?<=hooks\.slack)(?:-gov)?\.com/\S+|(?<=[?&]sig=)[^&\s]+")
_HEADER = re.compile(
    r"\b((?i:basic|bearer|token))(\s+)(?=[a-z+/._~-]*[A-Z0-9=]|[a-z+/._~-]{16})[A-Za-z0-9+/=._~-]{6,}"
)
# docs.github.com/en/authentication (token formats), docs.gitlab.com/security/tokens (prefixes), Databricks' own.
_TOKEN = re.compile(
    r"""
      github_pat_\w+
    | gh[a-z]_[\w.=-]{10,} | \bgh[a-z]_[\w.=-]+
    | gl(?:pat|ptt|dt|rtr?|ft|cbt|oas|soat|agent|imt|ffct|wt)-[\w.=-]+
    | gl[a-z]{2,6}-(?=[\w.=-]*\d)[\w.=-]{15,}  # kinds that are still to come
    | cgate_[\w.-]{10,}
    | dapi(?:[0-9A-Za-z]{16,}|(?=\w*\d)\w{4,})(?:-\d+)?
    | dose[0-9A-Za-z]{16,}(?:-\d+)?
    | whsec_[A-Za-z0-9+/=_-]+
    | eyJ[\w.=-]{5,}
    """,
    re.VERBOSE,
)


def without_secrets(text: str) -> str:
    """The text with everything blotted out that looks like a secret."""
    text = _PEM.sub(BLOT, text)
    text = _IN_ADDRESS.sub(BLOT, text)
    text = _HOOK.sub(BLOT, text)
    text = _TOKEN.sub(BLOT, text)
    return _HEADER.sub(rf"\1\2{BLOT}", text)


def cut_words(text: str, limit: int) -> str:
    """What a vendor said, without secrets, and cut only then: half of a secret is not known for one any more."""
    return without_secrets(text)[:limit]
