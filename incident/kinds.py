"""What a secret looks like: the kinds that are known, as expressions of RE2, and what tells a look-alike.

Each format is the vendor's own, as its documentation or its secret scanner's pattern has it. RE2 matches in time that
grows with the text alone, whatever the text holds. The expressions run over UTF-8 as bytes, so each class that is not
of ASCII only ends at ASCII characters.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped] # the wheel brings no types

_QUOTE = r"(?:\\{0,3}[\"'])?"
_WORD = (
    r"(?:passwo?r?d|passwd|passphrase|pwd|secret(?:[_-]?access)?(?:[_-]?key)?|credentials?|token|api[_-]?key"
    r"|access[_-]?key|private[_-]?key|routing[_-]?key|integration[_-]?key|signing[_-]?key)"
)
_VALUE = (
    r"(?:\\{1,3}\"([^\"\\\n]{3,})|\"((?:[^\"\\\n]|\\[^\n]){3,})|\\{0,3}'([^'\n]{3,})"
    r"|([^\s\"',;&<>]{3,}))"
)
"""In quotes that are escaped themselves, in quotes, or up to what would end an unquoted word."""
_NO_VALUE = frozenset(
    b"none null nil true false undefined missing empty invalid expired wrong required rejected refused revoked unknown "
    b"not left the and for was has with from ***".split()
)
"""What stands where a secret would, and is none."""
_ISSUED = re.compile(
    rb"4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    rb"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11,16}|6(?:011|4[4-9][0-9]|[25][0-9]{2})[0-9]{12,15}"
    rb"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"
)
"""How card numbers begin and how long they are (ISO/IEC 7812, as Visa, Mastercard, American Express, Diners Club,
Discover, UnionPay and JCB have them)."""
_IBANS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
        "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
}
"""Characters of an IBAN, by country (SWIFT, IBAN Registry)."""
_MIXED = re.compile(rb"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")


class Found(NamedTuple):
    """Where a secret stands in a text, in bytes."""

    start: int
    end: int
    value: tuple[int, int]
    """The secret itself; what is taken out may hold its name as well."""


Check = Callable[[bytes, int, int], int]
"""Where in the text the secret ends that stands there; 0: it is a look-alike."""


class Kind(NamedTuple):
    """A kind of secret. The first group that matched is the secret; without groups it is all that matched."""

    name: str
    expression: str
    check: Check | None = None
    whole: bool = False
    """Whether all that matched is taken out, and not the secret only."""


def _card(text: bytes, start: int, end: int) -> int:
    """By its issuer and its check digit (ISO/IEC 7812-1, annex B), and no piece of a fraction or an identifier."""
    shown = text[start:end].replace(b" ", b"").replace(b"-", b"")
    before, after = text[max(0, start - 1) : start], text[end : end + 2]
    goes_on = before in {b".", b"-", b"_"} or (after[:1] in {b".", b"-", b"_"} and after[1:].isalnum())
    if goes_on or not _ISSUED.fullmatch(shown):
        return 0
    digits = [int(each) for each in shown.decode()]
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * each, 10)) for each in digits[-2::-2])
    return 0 if total % 10 else end


def _iban(text: bytes, start: int, end: int) -> int:
    """By its country's length and its check digits (ISO 13616); a word after it may have matched with it."""
    length = _IBANS.get(text[start : start + 2].decode(), 0)
    places = [at for at in range(start, end) if text[at : at + 1] != b" "]
    if not length or len(places) < length:
        return 0
    last = places[length - 1] + 1
    plain = text[start:last].replace(b" ", b"").decode()
    number = int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4]))
    return last if number % 97 == 1 and not text[last : last + 1].isalnum() else 0


def _user_and_password(text: bytes, start: int, end: int) -> int:
    try:
        return end if b":" in base64.b64decode(text[start:end], validate=True) else 0
    except binascii.Error:
        return 0


def _said(text: bytes, start: int, end: int) -> int:
    return 0 if text[start:end].lower() in _NO_VALUE else end


def _mixed(text: bytes, start: int, end: int) -> int:
    return end if _MIXED.match(text[start:end]) else 0


KINDS = (
    Kind(
        "private-key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-{1,4}[^-])*"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    # A key that came line by line: each but the last is as long as RFC 7468 §2 (64) or RFC 2045 (76) has it.
    Kind("private-key", r"(?m)^(?:[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70}|[A-Za-z0-9+/]{76})$", _mixed),
    Kind("aws-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"),
    Kind(
        "aws-secret",
        rf"(?i)secret_?(?:access_?)?key{_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE}([A-Za-z0-9+/]{{40}})(?:[^A-Za-z0-9+/=]|$)",
    ),
    Kind("gcp-key", r"\bAIza[0-9A-Za-z_-]{35}"),
    Kind("gcp-token", r"\b(?:ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{28})"),
    Kind("gcp-service-account", rf"private_key_id{_QUOTE}\s{{0,3}}:\s{{0,3}}{_QUOTE}([0-9a-f]{{40}})\b"),
    Kind("azure-key", r"(?i)\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{20,}={0,2})"),
    Kind("azure-sas", r"(?i)[?&;]sig=([A-Za-z0-9+/%]{30,}={0,2})"),
    Kind("azure-secret", r"\b[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    Kind("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    Kind("gitlab-token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt|ffct)-[A-Za-z0-9_.=-]{20,}"),
    Kind("slack-token", r"\bx(?:ox[abceoprs]|app)-[A-Za-z0-9-]{10,}"),
    Kind("slack-webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+"),
    Kind("discord-webhook", r"discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]+"),
    Kind("telegram-token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    Kind("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    Kind("openai-key", r"\bsk-[A-Za-z0-9_-]{20,}"),
    Kind("hugging-face-token", r"\bhf_[A-Za-z0-9]{30,}"),
    Kind("pagerduty-key", r"\bR0[A-Z0-9]{30}\b"),
    Kind("pagerduty-key", r"events\.(?:eu\.)?pagerduty\.com/[a-z0-9/]{0,40}/([A-Za-z0-9]{32})\b"),
    Kind("pagerduty-token", r"(?i)\btoken token=([A-Za-z0-9_+-]{16,})"),
    Kind("pagerduty-token", r"\bpd(?:us|eu)\+_[A-Za-z0-9_+-]{20,}"),
    Kind("pagerduty-token", r"\b[uy][+_][A-Za-z0-9_+-]{18}\b", _mixed),
    Kind("stripe-key", r"\b(?:[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{20,})"),
    Kind("npm-token", r"\bnpm_[A-Za-z0-9]{36}"),
    Kind("pypi-token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    Kind("docker-token", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    Kind("sendgrid-key", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    Kind("twilio-key", r"\bSK[0-9a-f]{32}\b"),
    Kind("grafana-token", r"\bgl(?:sa_[A-Za-z0-9]{32}_[0-9a-f]{8}|c_[A-Za-z0-9+/=]{32,})"),
    Kind("vault-token", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    Kind("digitalocean-token", r"\bdo[opr]_v1_[0-9a-f]{64}"),
    Kind("commander-token", r"\bict_[A-Za-z0-9_-]{20,}"),
    Kind("kestra-webhook", r"/executions/webhook/(?:[^/\s\"'?#]+/){2}([A-Za-z0-9_-]{4,})"),
    Kind("jwt", r"\beyJ[A-Za-z0-9_-]{8,}(?:\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*|(?:\.[A-Za-z0-9_-]*){4})"),
    Kind("url-password", r"://([^\s:/@\"'<>]{0,100}:[^\s/\"'<>]+)@"),
    Kind("signature", r"(?i)\b(?:x-amz-|x-goog-)?signature=([0-9a-f]{64,})"),
    Kind(
        "authorization",
        rf"(?i)\b(?:proxy-)?authorization{_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE}"
        r"(?:(?:bearer|basic|digest|negotiate|token|[a-z]*key|aws4-hmac-sha256)\s{1,3})?([^\s\"',]{4,})",
        whole=True,
    ),
    Kind("bearer", r"(?i)\bbearer\s{1,3}([A-Za-z0-9._~+/-]{12,}=*)", whole=True),
    Kind("basic", r"\b[Bb]asic ([A-Za-z0-9+/]{6,}={0,2})", _user_and_password),
    Kind("cookie", r"(?i)\b(?:set-)?cookie[\"']?\s{0,3}:([^\r\n]+)", whole=True),
    Kind("cookie", r"(?i)\b(?:jsessionid|phpsessid|asp\.net_sessionid|connect\.sid)=([^\s\"',;&<>]{3,})"),
    Kind("cookie", r"(?i)\bsess(?:ion)?(?:[_-]?id)?=([A-Za-z0-9_.%-]{16,})", _mixed),
    Kind("secret", rf"(?i){_WORD}{_QUOTE}\s{{0,3}}(?:=>|[:=])\s{{0,3}}{_VALUE}", _said),
    Kind("secret", rf"(?i)--[a-z0-9-]*{_WORD}\s{{1,3}}([^\s\"',;&<>-][^\s\"',;&<>]{{2,}})", _said),
    Kind("secret", rf"(?i)<[a-z0-9_.:-]*{_WORD}>([^\s<>]{{3,}})</", _said),
    Kind("email", r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}\b"),
    Kind(
        "card",
        r"\b(?:[0-9]{13,19}|[0-9]{4}(?:[ -][0-9]{4}){2}[ -][0-9]{1,4}(?:[ -][0-9]{1,3})?"
        r"|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5})\b",
        _card,
    ),
    Kind("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _iban),
)
"""In this order one wins over another that takes out just the same."""
NAMES = frozenset(kind.name for kind in KINDS)
_MEMORY = 32 << 20
"""Bytes that one automaton may take; at this none of ours is built twice within a text."""


_NAMED = re.compile(r"[a-z][a-z0-9-]{0,29}")
_LONGEST = 1000
_MARKS = tuple(f"[REDACTED:{name}]".encode() for name in sorted(NAMES))


def check_name(name: str) -> str:
    """`name`, if a team may give it to a kind of its own.

    Raises:
        ValueError: it may not; says why.
    """
    if not _NAMED.fullmatch(name):
        raise ValueError("expected a name of at most 30 lower-case letters, digits and hyphens")
    if name in NAMES:
        raise ValueError("expected a name that no known kind has")
    return name


def check_pattern(expression: str) -> str:
    """`expression`, if it can find a team's own kind of secret.

    Raises:
        ValueError: it cannot; says why.
    """
    if not 1 <= len(expression) <= _LONGEST:
        raise ValueError(f"expected an expression of 1 to {_LONGEST} characters")
    lookout = Lookout((Kind("own", expression),), text=True)
    if lookout.suspects(b""):
        raise ValueError("expected an expression that does not match the empty text")
    if any(lookout.find(0, mark) for mark in _MARKS):
        raise ValueError("expected an expression that matches no mark, such as [REDACTED:secret]")
    return expression


class Lookout:
    """Finds what any of some kinds of secret looks like.

    Args:
        kinds: what to look for; the place in it is what is found with each.
        text: whether the expressions speak of characters, and not of bytes.

    Raises:
        ValueError: an expression is none of RE2's; says why.
    """

    def __init__(self, kinds: tuple[Kind, ...], *, text: bool = False) -> None:
        self._kinds = kinds
        self._expressions: list[Any] = []
        together = re2.Set.SearchSet(_options(text=text))
        for each in kinds:
            try:
                self._expressions.append(re2.compile(each.expression.encode(), _options(text=text)))
                together.Add(each.expression.encode())
            except re2.error as error:
                raise ValueError(_words(error)) from error
        if kinds:
            together.Compile()
        self.match: Callable[[bytes], list[int] | None] = together.Match if kinds else lambda _: None
        """Which kinds a text may hold; almost always none: one pass over it."""

    def suspects(self, text: bytes) -> list[int]:
        """Which kinds `text` may hold, in no order."""
        return self.match(text) or []

    def find(self, which: int, text: bytes) -> list[Found]:
        """Every secret of that kind in `text`, in order."""
        kind, expression = self._kinds[which], self._expressions[which]
        groups, found = range(1, expression.groups + 1), []
        for match in expression.finditer(text):
            spans = (match.span(group) for group in groups)
            value = next((span for span in spans if span[0] >= 0), None) or match.span()
            end = kind.check(text, *value) if kind.check else value[1]
            if end <= value[0]:
                continue
            start, last = match.span() if kind.whole else (value[0], end)
            found.append(Found(start, last, (value[0], end)))
        return found


def _options(*, text: bool) -> Any:  # noqa: ANN401 - the wheel brings no types
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.encoding = re2.Options.Encoding.UTF8 if text else re2.Options.Encoding.LATIN1
    return options


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
