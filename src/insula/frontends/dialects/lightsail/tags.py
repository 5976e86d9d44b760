"""Tags: theirs have a key and a value of almost any text, ours are one word, so the text is kept beside the word."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from insula.base.errors import InvalidInput
from insula.frontends.dialects.lightsail.dialect import New

_FACT = "tag:"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_:.-]")
_LONGEST = 255
_KEY_CHARS, _VALUE_CHARS = 128, 256


class Tag(New):
    key: str
    value: str = ""


def words(tags: Sequence[Tag]) -> tuple[str, ...]:
    """Our tags of theirs. Raises InvalidInput."""
    return tuple(_word(tag) for tag in tags)


def facts(tags: Sequence[Tag]) -> dict[str, str]:
    """What is kept beside them."""
    return {_FACT + _word(tag): json.dumps([tag.key, tag.value]) for tag in tags}


def no_facts(gone: Sequence[str]) -> dict[str, str]:
    """The facts of our tags that are no more."""
    return {_FACT + word: "" for word in gone}


def views(carried: Sequence[str], known: Mapping[str, str]) -> list[dict[str, str]]:
    """Theirs of ours; one that is not from here is a key."""
    return [{"key": key, "value": value} for key, value in (_pair(word, known) for word in carried)]


def kept(known: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a record that has no tags with us."""
    return tuple(name.removeprefix(_FACT) for name in known if name.startswith(_FACT))


def with_key(carried: Sequence[str], known: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    """Those of our tags that stand for one of these keys."""
    return tuple(word for word in carried if _pair(word, known)[0] in keys)


def _pair(word: str, known: Mapping[str, str]) -> tuple[str, str]:
    text = known.get(_FACT + word, "")
    if not text:
        return word, ""
    key, value = json.loads(text)
    return key, value


def _word(tag: Tag) -> str:
    if not tag.key.strip() or len(tag.key) > _KEY_CHARS or len(tag.value) > _VALUE_CHARS:
        raise InvalidInput(
            "The tags are not usable",
            why=f"A key has 1 to {_KEY_CHARS} characters, and a value at most {_VALUE_CHARS}",
            todo="Choose others",
            fields={"tags": "not usable"},
        )
    text = f"{tag.key}:{tag.value}" if tag.value else tag.key
    word = _FORBIDDEN.sub("_", text)
    if word == text and len(word) <= _LONGEST and (":" not in tag.key or not tag.value):
        return word
    digest = hashlib.sha256(json.dumps([tag.key, tag.value]).encode()).hexdigest()[:12]
    return f"{word[: _LONGEST - 13]}.{digest}"
