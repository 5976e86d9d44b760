"""The panel in a real browser: Debian's Chromium, driven by Playwright, against a service on the fake driver."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from insula.frontends.listen import serve
from tests.api.world import World
from tests.panel.browsing import session_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
CHROMIUM = "/usr/bin/chromium"
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
SHOTS = os.environ.get("INSULA_TEST_SCREENSHOTS", "")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS someone"
PLACES = (
    "/",
    "/instances",
    "/instances/web1",
    "/instances/web1/use",
    "/instances/web1/console",
    "/create",
    "/images",
    "/images/tiny",
    "/volumes",
    "/volumes/data1",
    "/volumes/new",
    "/snapshots",
    "/backups",
    "/backups/kept",
    "/networks",
    "/networks/default",
    "/firewalls",
    "/firewalls/outer",
    "/addresses",
    "/operations",
    "/keys",
    "/tokens",
    "/tokens/new",
    "/users",
    "/users/ada",
    "/users/new",
    "/account",
    "/audit",
    "/projects",
    "/instances/nobody",
)


@dataclass
class Site:
    """A service that listens, and a browser that may look at it."""

    world: World
    url: str
    browser: Browser

    async def visitor(self, **settings: Any) -> BrowserContext:
        """Somebody who is signed in as an administrator."""
        context = await self.browser.new_context(base_url=self.url, **settings)
        secret = await session_of(self.world)
        await context.add_cookies([{"name": "insula", "value": secret, "url": self.url}])
        return context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    folder = tmp_path_factory.mktemp("site")
    serving = asyncio.create_task(
        serve(
            world.app,
            host="127.0.0.1",
            port=0,
            socket_path=folder / "s.sock",
            stop=stop,
            closing=world.closing,
            on_ready=ready.set_result,
        )
    )
    async with asyncio.timeout(20):
        address = await ready
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Site(world, f"http://{address}", browser)
        await browser.close()
    stop.set()
    await serving


async def _page(context: BrowserContext) -> tuple[Page, list[str]]:
    """A page, and what goes wrong on it: errors of scripts, and what the policy forbids."""
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None)
    return page, wrong


async def test_the_first_instance_takes_three_clicks(site: Site) -> None:
    context = await site.visitor()
    page, wrong = await _page(context)
    await page.goto("/")
    await expect(page).to_have_url(re.compile("/panel/$"))
    await page.click("#first")
    await page.click("text=tiny")
    await page.click("#make")
    await expect(page).to_have_url(re.compile("/panel/instances/web1$"))
    await expect(page.locator("h1 .state")).to_have_text("running", timeout=10_000)
    assert wrong == []
    await context.close()


async def test_a_change_is_seen_at_once(site: Site) -> None:
    await site.world.create("lively")
    context = await site.visitor()
    page, wrong = await _page(context)
    await page.goto("/panel/instances/lively")
    await expect(page.locator("h1 .state")).to_have_text("running")
    await page.wait_for_timeout(500)  # the events have begun
    await site.world.finish(await site.world.admin("POST", "/v1/instances/lively/stop", json={}))
    since_s = time.monotonic()
    await expect(page.locator("h1 .state")).to_have_text("stopped", timeout=5000)
    took_s = time.monotonic() - since_s
    assert took_s < 1.5, f"seen after {took_s:.2f} s"
    assert wrong == []
    await context.close()


async def test_the_console_carries_what_is_typed(site: Site) -> None:
    await site.world.create("talker")
    context = await site.visitor()
    page, wrong = await _page(context)
    await page.goto("/panel/instances/talker/console")
    await expect(page.locator("#console-state")).to_have_text("connected")
    await page.keyboard.type("hello from a browser")
    await expect(page.locator(".xterm-accessibility")).to_contain_text("hello from a browser")
    assert wrong == []
    await page.reload()
    await expect(page.locator("#console-state")).to_have_text("connected")
    await context.close()


async def test_lists_are_searched_while_one_types_and_the_address_can_be_shared(site: Site) -> None:
    for name in ("alpha", "beta"):
        await site.world.create(name)
    context = await site.visitor()
    page, _ = await _page(context)
    await page.goto("/panel/instances")
    await page.fill("#q", "alpha")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page).to_have_url(re.compile("q=alpha"))
    other = await context.new_page()
    await other.goto(page.url)
    await expect(other.locator("tbody tr")).to_have_count(1)
    await context.close()


async def test_the_palette_leads_anywhere(site: Site) -> None:
    context = await site.visitor()
    page, wrong = await _page(context)
    await page.goto("/panel/")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("firewalls")
    await expect(page.locator("#found [aria-selected=true]")).to_contain_text("Firewalls")
    assert await _violations(page) == []
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/panel/firewalls$"))
    await page.keyboard.press("c")
    await expect(page).to_have_url(re.compile("/panel/create$"))
    assert wrong == []
    await context.close()


async def test_lines_follow_the_form(site: Site) -> None:
    context = await site.visitor()
    page, _ = await _page(context)
    await page.goto("/panel/create")
    await page.fill("#name", "sandbox7")
    await expect(page.locator("#lines")).to_contain_text("insula create sandbox7")
    await context.close()


async def test_without_scripts_pages_are_read_and_verbs_work(site: Site) -> None:
    await site.world.create("plain")
    context = await site.visitor(java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/panel/instances/plain")
    await page.click("#do-stop")
    await expect(page.locator(".flash")).to_contain_text("plain")
    await page.goto("/panel/instances?q=plain")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(site: Site) -> Site:
    """One of each thing to look at."""
    world = site.world
    if (await world.admin("GET", "/v1/instances/web1")).status_code == 404:
        await world.create("web1")
    await world.create_snapshot("web1", name="web1-1")
    await world.create_volume("data1")
    await world.add_store("here")
    await world.back_up("web1", "here", name="kept")
    await world.add_firewall("outer")
    assert (await world.admin("POST", "/v1/keys", json={"name": "mine", "public_key": KEY})).status_code == 201
    return site


@pytest.mark.thorough
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
async def test_everybody_can_use_every_page(full: Site, look: str) -> None:
    """axe-core finds nothing serious in it (WCAG 2.1 AA), nothing is wider than the screen, and no script fails."""
    size = {"width": 390, "height": 844} if look == "phone" else {"width": 1360, "height": 850}
    context = await full.visitor(viewport=size, color_scheme="dark" if look == "dark" else "light", bypass_csp=False)
    page, wrong = await _page(context)
    found = []
    for place in PLACES:
        await page.goto(f"/panel{place}")
        if look != "phone":  # which has the same elements, as many columns as fit
            found += [f"{place}: {each}" for each in await _violations(page)]
        if await page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
            found.append(f"{place}: it is wider than the screen")
        if SHOTS:
            name = place.strip("/").replace("/", "-") or "home"
            await page.screenshot(path=str(Path(SHOTS) / f"{look}-{name}.png"), full_page=True)
    await context.close()
    assert found == []
    assert wrong == []


async def _violations(page: Page) -> list[str]:
    # Evaluated by the debugger, which the page's policy does not bind.
    await page.evaluate(AXE)
    told = await page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    return [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]}"
        for each in told["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
