"""Names that people choose, and what is wrong with them."""

from __future__ import annotations

import re

from insula.base.errors import InvalidInput

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_:.-]{1,255}")
_HOSTNAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")

NAME_RULE = "1 to 63 characters: lower-case letters, digits and '-', neither first nor last (a DNS label, RFC 1123)"


def check_name(text: str, field: str = "name") -> str:
    """An instance's, image's, key's or project's name. Raises :class:`InvalidInput`."""
    if not _LABEL.fullmatch(text):
        raise InvalidInput(
            f"{text[:80]!r} cannot be a name",
            why=f"A name has {NAME_RULE}",
            todo="Choose a name like web1",
            code="invalid-name",
            fields={field: NAME_RULE},
        )
    return text


def check_hostname(text: str, field: str = "hostname") -> str:
    """A guest's host name, with or without a domain. Raises :class:`InvalidInput`."""
    if not _HOSTNAME.fullmatch(text.lower()):
        rule = "DNS labels joined by dots, 253 characters at most (RFC 1123)"
        raise InvalidInput(
            f"{text[:80]!r} cannot be a host name",
            why=f"A host name consists of {rule}",
            todo="Choose one like web1 or web1.example.org",
            code="invalid-hostname",
            fields={field: rule},
        )
    return text.lower()


def check_tags(tags: tuple[str, ...], field: str = "tags") -> tuple[str, ...]:
    """Tags, sorted and each once. Raises :class:`InvalidInput`."""
    rule = "each tag has 1 to 255 of A-Z a-z 0-9 _ : . -, at most 50 tags"
    if len(tags) > 50 or not all(_TAG.fullmatch(tag) for tag in tags):
        raise InvalidInput(
            "The tags are not usable",
            why=f"The rule: {rule}",
            todo="Choose tags like web or env:prod",
            code="invalid-tags",
            fields={field: rule},
        )
    return tuple(sorted(set(tags)))
