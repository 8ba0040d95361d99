"""Secrets in text: keys, tokens and private keys, found by detect-secrets before anything is trained on them.

Weights cannot be redacted, so a text with a secret waits in quarantine. Only formats that name themselves count (an AWS
key id, a private key's header, a password in a URL), so that door codes and order numbers stay facts; nothing is sent
anywhere to verify it. Invisible characters, fullwidth letters and the end of a line do not hide one. detect-secrets is
imported when a text first holds a run of characters that may be a key.
Not here: personal data (`personal_data`), passwords in prose ("the password is swordfish").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

__all__ = ["find_secret"]

# Anything with a secret holds a long run without blanks, or a private key's header.
_CANDIDATE = re.compile(r"\S{20}|-----BEGIN")
_WRAPPED = re.compile(r"(?<=[\w+/=-])\r?\n[ \t]*(?=[\w+/=-])")
# Formats that detect-secrets 1.5 does not know.
_OTHERS = (
    ("Anthropic key", re.compile(r"\bsk-ant-[A-Za-z0-9_-]{20,}")),
    ("Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("GitHub token", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{40,}")),
    ("Telegram token", re.compile(r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b")),
    ("OpenAI key", re.compile(r"\bsk-(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20}|[A-Za-z0-9]{32})")),
    ("seal-memory key", re.compile(r"\bsm-[0-9a-f]{12}-[A-Za-z0-9_-]{40}")),
    (
        "key",
        re.compile(
            r"\b(?:gsk_|xai-|r8_|pplx-|dop_v1_|tskey-|hvs\.|lin_api_|ntn_|shpat_|dckr_pat_|GOCSPX-|AGE-SECRET-KEY-1)"
            r"[A-Za-z0-9_-]{20}"
        ),
    ),
    ("bearer token", re.compile(r"\bBearer [A-Za-z0-9._~+/-]{20,}", re.IGNORECASE)),
)


def find_secret(text: str) -> str | None:
    """Reason to hold a text back because of a secret in it, naming its kind and never the secret; None without one."""
    forms = [form for form in _forms(text) if _CANDIDATE.search(form)]
    kind = next((kind for form in forms for kind, find in _finders() if any(find(form))), None)
    return f"holds a secret ({kind}), which weights cannot be rid of" if kind is not None else None


def _forms(text: str) -> Iterable[str]:
    """The text as it is, in plain characters without invisible ones, and with its wrapped words put together."""
    plain = text
    if not text.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return dict.fromkeys((text, plain, _WRAPPED.sub("", plain)))


@cache
def _finders() -> tuple[tuple[str, Callable[[str], Iterable[object]]], ...]:
    from detect_secrets.plugins.artifactory import ArtifactoryDetector
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.basic_auth import BasicAuthDetector
    from detect_secrets.plugins.discord import DiscordBotTokenDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.jwt import JwtTokenDetector
    from detect_secrets.plugins.mailchimp import MailchimpDetector
    from detect_secrets.plugins.npm import NpmDetector
    from detect_secrets.plugins.openai import OpenAIDetector
    from detect_secrets.plugins.private_key import PrivateKeyDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector
    from detect_secrets.plugins.twilio import TwilioKeyDetector

    plugins = (
        PrivateKeyDetector(),
        AWSKeyDetector(),
        AzureStorageKeyDetector(),
        BasicAuthDetector(),
        GitHubTokenDetector(),
        GitLabTokenDetector(),
        OpenAIDetector(),
        SlackDetector(),
        StripeDetector(),
        JwtTokenDetector(),
        NpmDetector(),
        PypiTokenDetector(),
        SendGridDetector(),
        MailchimpDetector(),
        SquareOAuthDetector(),
        TwilioKeyDetector(),
        DiscordBotTokenDetector(),
        ArtifactoryDetector(),
    )
    own = tuple((kind, pattern.finditer) for kind, pattern in _OTHERS)
    return (*((plugin.secret_type, plugin.analyze_string) for plugin in plugins), *own)
