"""The same through the pages, in a real browser: what a person sees, chooses and waits for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab
    from selenium.webdriver.remote.webdriver import WebDriver

    from testbed.hub import Hub

PICTURES = Path(__file__).resolve().parents[2] / "build" / "cluster"
FLAGS = (
    "--headless",
    "--no-sandbox",  # which needs an account that is not root
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small where there are containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,860",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}/chromium"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    browser = _started(options)
    yield browser
    browser.quit()


def _started(options: webdriver.ChromeOptions) -> WebDriver:
    """Start a browser: again when another process has taken the driver's port in between."""
    for last in (False, False, True):
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "")
        try:
            return webdriver.Chrome(options=options, service=service)
        except WebDriverException:
            service.stop()
            if last:
                raise
    raise AssertionError


def test_a_person_chooses_by_keyboard_waits_and_works(
    browser: WebDriver, hub: Hub, lab: Lab
) -> None:
    user = lab.people[0]
    _log_in(browser, hub, user, lab.password)
    (group,) = browser.find_elements(By.CSS_SELECTOR, "fieldset")
    assert group.accessible_name == "Choose an environment"
    buttons = browser.find_elements(By.CSS_SELECTOR, "input[type=radio][name=environment]")
    assert [one.accessible_name for one in buttons] == [
        "Sea ice",
        "Statistics",
        "Sea ice, unpacked anew",
    ]
    assert [one.is_selected() for one in buttons].count(True) == 1
    page = browser.find_element(By.ID, "spawn_form").text
    assert "Python 3." in page
    assert "MB" in page
    assert "built 20" in page
    _picture(browser, "form")
    _dark(browser)
    _picture(browser, "form-dark")

    while not buttons[0].is_selected():
        next(one for one in buttons if one.is_selected()).send_keys(Keys.ARROW_UP)
    _picture(browser, "form-focus")
    buttons[0].send_keys(Keys.ENTER)
    _wait(browser, "spawn-pending")
    _picture(browser, "pending")
    WebDriverWait(browser, 120).until(lambda page: f"/user/{user}/lab" in page.current_url)
    assert hub.server(user)["user_options"] == {"environment": "alpha"}
    hub.stop_server(user)


def test_an_admin_sees_why_the_catalog_is_not_read(browser: WebDriver, hub: Hub, lab: Lab) -> None:
    before = lab.catalog.read_text()
    lab.catalog.write_text(before.replace("title: Sea ice\n", "titel: Sea ice\n"))
    try:
        for user, password in ((lab.people[0], lab.password), ("admin", lab.admin_password)):
            _log_in(browser, hub, user, password)
            page = browser.find_element(By.ID, "spawn_form").text
            assert "Statistics" in page
            assert ("'titel' is no key here" in page) == (user == "admin")
            if user == "admin":
                _picture(browser, "form-admin")
            browser.delete_all_cookies()
    finally:
        lab.catalog.write_text(before)


def test_an_error_is_shown_on_the_page(browser: WebDriver, hub: Hub, lab: Lab) -> None:
    _log_in(browser, hub, lab.people[0], lab.password, query="?environment=nothing")
    page = browser.find_element(By.TAG_NAME, "body").text
    assert "There is no environment 'nothing' that you may use. Choose one of: alpha" in page
    _picture(browser, "error")


def _log_in(browser: WebDriver, hub: Hub, user: str, password: str, *, query: str = "") -> None:
    """Log in, and come to the form with what may be chosen.

    The form is where the login leads, not asked for once more: when the page it is on already is
    asked for, the browser's driver may return before there is anything on it.
    """
    browser.get(f"{hub.url}/hub/login?next={quote(f'/hub/spawn{query}', safe='')}")
    waiting = WebDriverWait(browser, 60)
    waiting.until(presence_of_element_located((By.NAME, "username"))).send_keys(user)
    browser.find_element(By.NAME, "password").send_keys(password, Keys.ENTER)
    waiting.until(
        lambda page: page.execute_script(
            "return document.readyState == 'complete' && !!document.getElementById('spawn_form')"
        )
    )


def _wait(browser: WebDriver, part: str) -> None:
    WebDriverWait(browser, 60).until(lambda page: part in page.current_url)


def _dark(browser: WebDriver) -> None:
    browser.execute_script("document.documentElement.setAttribute('data-bs-theme', 'dark')")


def _picture(browser: WebDriver, name: str) -> None:
    """Keep a picture of the page as a build artefact, to be looked at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(PICTURES / f"{name}.png"))
