from __future__ import annotations

import pytest
from click.testing import CliRunner

from insula.base.errors import InvalidInput
from insula.cli.commands.metrics import metrics, sparkline
from insula.cli.options import duration_s


def test_a_line_of_bars_has_gaps_where_nothing_was_measured() -> None:
    assert sparkline([0.0, 7.0, None, 3.5], 60) == "▁█ ▅"
    assert sparkline([None, None], 60) == "  "
    assert sparkline([0.0, 0.0], 60) == "▁▁"


def test_a_long_line_is_made_of_means() -> None:
    values = [0.0] * 50 + [10.0] * 50
    assert sparkline(values, 10) == "▁▁▁▁▁█████"
    assert sparkline([None] * 50 + [10.0, None] * 25, 4) == "  ██"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert duration_s(text, "--since") == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0m", "1.5h", "99999999999d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="--since"):
        duration_s(text, "--since")


@pytest.mark.parametrize("arguments", [[], ["web1", "--host"]])
def test_metrics_are_of_one_thing(arguments: list[str]) -> None:
    found = CliRunner().invoke(metrics, arguments)
    assert isinstance(found.exception, InvalidInput)
