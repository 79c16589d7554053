"""What looks like a secret, wherever it might be shown, and what does not."""

from __future__ import annotations

SECRETS = [
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "dapi0123456789abcdef0123456789abcdef",
    "dapi0123456789abcdef0123456789abcdef-2",
    "dose0123456789abcdef0123456789abcdef",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "glpat-abcdefghij1234567890",
    "cgate_cje47bpjz55lt4jj_gk2or09w5sbvbu4hi3r30nl26b03lrolg75nxop6ns2igpbjsfe2z7o0ufzum52o",
    "glptt-abcdefghij1234567890abcdefghij1234567890",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJl",
    "Basic dXNlcjpwYXNzd29yZA==",
    "bearer abcdefghijklmnop1",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA cut off",
    "ghs_12_abc.def-x",
    "ghp_0123456789",
    "gho_x",
    "github_pat_11AA_bb",
    "eyJhbGciOi.J9.x",
    "Bearer abc/def==",
    "glxyz-0123456789abcdefghij",
    "dapi0123",
    "https://ghes-user:pa-ss@ghes.example.com",
    "https://some-token@ghes.example.com",
]
HARMLESS = [
    "promotion 4f6k2jd8a1b2c3d4 is pending_approval",
    "https://github.com/example/ml-deploy/actions/runs/30433642",
    "main.ml.churn v12 -> Champion",
    "global-settings-that-are-long",
    "basic authentication failed",
    "the token refreshes itself",
    "https://github.com/example/ml-deploy?asked_by=ann@example.com",
    "weighs_more than dapibus doses, glue-jobs-of-the-day",
]


def telling(secret: str) -> str:
    """The part of it that must not be seen."""
    if secret.startswith("https:"):
        return secret[8:18]
    return secret.split(" ", 1)[1] if secret.lower().startswith(("basic", "bearer")) else secret[:12]
