"""The page of a run in a real browser: no errors, nothing wider than a phone, tables sort, and
axe-core finds nothing that keeps people out. Skipped where there is no Chromium."""

import shutil

import pytest
from axe_selenium_python import Axe
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)
WIDTHS = (400, 1400)  # pixels: a phone, a desk


@pytest.fixture(scope="module")
def browser():
    """A process of its own: only a browser runs the script, and lays out the page."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser, path, width, theme):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_fails_and_nothing_is_too_wide(browser, small_run, width, theme):
    open_page(browser, small_run / "report.html", width, theme)
    assert browser.get_log("browser") == []
    broken = "return [...document.images].filter(image => !image.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[theme]


def test_tables_sort_by_their_heads_and_by_the_keyboard(browser, small_run):
    open_page(browser, small_run / "report.html", 1400, "light")
    table = browser.find_element(By.CSS_SELECTOR, "#classes table[data-sortable]")
    button = table.find_elements(By.CSS_SELECTOR, "th button")[2]

    def read_recalls():
        cells = table.find_elements(By.CSS_SELECTOR, "tbody tr td:nth-child(3)")
        return [float(cell.text) for cell in cells]

    before = read_recalls()
    button.send_keys(Keys.ENTER)
    assert read_recalls() == sorted(before)
    browser.execute_script("arguments[0].click()", button)  # wherever the page has scrolled to
    assert read_recalls() == sorted(before, reverse=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser, small_run, theme):
    open_page(browser, small_run / "report.html", 1400, theme)
    axe = Axe(browser)
    axe.inject()
    violations = axe.run()["violations"]
    assert not violations, axe.report(violations)
