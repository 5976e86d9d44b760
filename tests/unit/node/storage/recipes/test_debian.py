from __future__ import annotations

from insula.node.storage.recipes.debian import install_progress, installed_packages


def test_progress_only_goes_forward_and_ends_below_the_next_phase() -> None:
    seen: list[int] = []
    on_line = install_progress(lambda _, percent=-1: seen.append(percent))
    on_line("0 upgraded, 300 newly installed, 0 to remove and 0 not upgraded.")
    for mark in ("Get:{} http://x", "Unpacking p{} (1) ...", "Setting up p{} (1) ..."):
        for number in range(300):
            on_line(mark.format(number))
    on_line("Get:301 http://again")
    on_line("I: success in 70 seconds")
    assert seen == sorted(seen)
    assert seen[0] == 2
    assert seen[-1] == 80


def test_only_installed_packages_are_listed() -> None:
    status = (
        "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n y\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    )
    assert installed_packages(status) == {"a": "1:2-3"}
