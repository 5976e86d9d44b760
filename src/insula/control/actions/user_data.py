"""User-data: what a guest does at its first boot, checked before it is too late to tell."""

from __future__ import annotations

import yaml

from insula.base.errors import InvalidInput

MAX_BYTES = 64 * 1024

# cloud-init's other formats, recognised by their first line; what follows is theirs.
_OPAQUE = ("#!", "#include", "#cloud-boothook", "#part-handler", "## template:", "Content-Type:", "MIME-Version:")


def check_user_data(text: str, field: str = "user_data") -> str:
    """Return it unchanged. Raises :class:`InvalidInput` with the line that is wrong."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise _bad(field, f"it has {size} bytes, at most {MAX_BYTES} are possible", "Let it fetch the rest")
    if "\x00" in text:
        raise _bad(field, "it contains a zero byte", "Send text")
    if not text.strip() or text.startswith(_OPAQUE):
        return text
    if not text.startswith("#cloud-config"):
        raise _bad(
            field,
            "line 1: it must begin with #cloud-config, #! or another mark that cloud-init knows",
            "Put #cloud-config in the first line of YAML, #!/bin/sh in the first line of a script",
        )
    _check_cloud_config(text, field)
    return text


def _check_cloud_config(text: str, field: str) -> None:
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _bad(field, f"line {line}: {error.problem or error.context}", "Correct the YAML there") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a date like 2026-99-99; RecursionError: thousands of nested brackets.
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise _bad(field, f"it is no YAML: {reason}", "Correct the YAML") from error
    if content is not None and not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise _bad(field, f"cloud-config must be a mapping (key: value), this is {kind}", "Write `key: value` lines")


def _bad(field: str, why: str, todo: str) -> InvalidInput:
    return InvalidInput(
        "The user-data is not usable", why=why, todo=todo, code="invalid-user-data", fields={field: why}
    )
