"""Keys, tokens and private keys wait in quarantine; codes, numbers and links are facts."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from seal_memory.intake.admission import admit
from seal_memory.records import Role, Status
from seal_memory.safety.secrets import find_secret


def _made(*parts: str) -> str:
    """A key put together here, so that no scanner takes this file for a leak."""
    return "".join(parts)


_JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (json.dumps({"alg": "HS256"}).encode(), json.dumps({"sub": "ann"}).encode(), b"s" * 32)
)
SECRETS = {
    "AWS Access Key": _made("The key is AKIA", "IOSFODNN7EXAMPLE."),
    "Private Key": _made("-----BEGIN RSA ", "PRIVATE KEY-----\nMIIEow==\n-----END"),
    "GitHub Token": _made("Use gh", "p_", "a1B2" * 9, " for the clone."),
    "Slack Token": _made("xox", "b-123456789012-123456789012-", "abcdefghijABCDEFGHIJ1234"),
    "Stripe Access Key": _made("sk_", "live_", "4eC39HqLyjWDarjtT1zdp7dc"),
    "Basic Auth Credentials": "The ledger is at postgres://ann:swordfish9@db.brask.example/boats",
    "JSON Web Token": f"Her session is {_JWT}.",
    "Anthropic key": _made("sk-", "ant-", "api03-abcdefghijklmnop-1234567890"),
    "Google API key": _made("AIza", "Sy0aB" * 7),
    "Hugging Face token": _made("hf", "_", "abcdEFGH" * 4),
    "OpenAI key": _made("sk-", "proj-", "abcdEFGH_123" * 4),
    "seal-memory key": _made("sm-", "0123456789ab-", "aB3_" * 11),
    "key": _made("It is gs", "k_", "abcdEFGH1234" * 4),
    "bearer token": "curl -H 'Authorization: Bearer 0123456789abcdef0123456789'",
}


@pytest.mark.parametrize(("kind", "text"), SECRETS.items(), ids=SECRETS.keys())
@pytest.mark.parametrize("role", [Role.USER, Role.DOCUMENT])
def test_a_secret_waits_for_a_person(kind: str, text: str, role: Role) -> None:
    admission = admit(text, role=role)
    assert admission.status is Status.QUARANTINED
    assert admission.reason == f"holds a secret ({kind}), which weights cannot be rid of"


@pytest.mark.parametrize(
    "hide",
    [
        lambda key: key[:3] + "\u200b" + key[3:],
        lambda key: key[:20] + "\u00ad" + key[20:],
        lambda key: key[:20] + "\n" + key[20:],
        lambda key: key[:20] + "\r\n    " + key[20:],
        lambda key: "".join(chr(ord(c) + 0xFEE0) for c in key),
    ],
    ids=["zero-width", "soft hyphen", "wrapped", "indented", "fullwidth"],
)
def test_what_hides_a_secret_does_not_help(hide: Callable[[str], str]) -> None:
    key = _made("gh", "p_", "a1B2" * 9)
    assert admit(f"The door is opened by {hide(key)} today.", role=Role.USER).status is Status.QUARANTINED


@pytest.mark.parametrize(
    "text",
    [
        "The alarm code of the tool shed was changed to K-7741.",
        "The order number is 4111-2288-XK-0099-ABCDEF-7712.",
        "The page is https://brask.example/harbour/ferries?from=Tarnholm&to=Korrin#times",
        "The commit is 9fceb02d0ae598e95dc970b74767f19372d61af8.",
        "Donaudampfschifffahrtsgesellschaftskapitän Holt lives in Graz.",
        "The task-force-for-international-harbour-safety-and-lights meets on Monday.",
        "The rooms of the house are\nkitchen\nbathroom\nworkshop\nlighthouse-keepers-store-room-2\nand no other.",
        "The ISBN of the book is 978-3-16-148410-0.",
    ],
)
def test_codes_and_links_are_facts(text: str) -> None:
    assert admit(text, role=Role.USER).status is Status.PENDING


def test_a_secret_in_a_title_counts_and_is_not_told() -> None:
    admission = admit("The boat is red.", role=Role.DOCUMENT, title=SECRETS["AWS Access Key"])
    assert admission.status is Status.QUARANTINED
    assert "IOSF" not in str(admission.reason)


def test_ordinary_text_loads_no_detector() -> None:
    """detect-secrets brings an HTTP client along, which takes a second to import."""
    code = (
        "import sys; from seal_memory.safety.secrets import find_secret; find_secret('The boat is red.');"
        "sys.exit('detect_secrets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert find_secret("The boat is red.") is None
