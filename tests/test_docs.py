"""The documentation: its links lead somewhere, its commands exist, and its generated pages are
those of the code."""

import re
import shlex

import click
import pytest
import yaml

from tests.support.commands import ROOT
from tools import reference
from tools.cli import cli

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
# What stands for something that a reader puts in.
PLACEHOLDER = re.compile(r"\.\.\.|…|\bOPTIONS\b|\bCOMMAND\b")


def anchors(text):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def commands_of(text):
    """The lines in code that call cbtool, without comments and what follows in the shell."""
    for block in CODE.findall(text):
        for line in block.strip("`").splitlines():
            command = line.strip().removeprefix("$ ")
            if command.startswith("cbtool ") and not PLACEHOLDER.search(command):
                yield command


def find_unknown(command):
    """The first word of `command` that is no command or option of cbtool; None where all are."""
    words = shlex.split(command.split(" | ")[0].split(" && ")[0], comments=True)[1:]
    place = cli
    context = click.Context(cli, info_name="cbtool")
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            known = {"-h", "--help"}
            for option in place.params:
                known |= {*option.opts, *option.secondary_opts}
            if not {word.partition("=")[0]} & known:
                return word
        elif isinstance(place, click.Group):
            inner = place.get_command(context, word)
            if inner is None:
                return word
            place = inner
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists_with_its_options(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("it tells of commands that are gone")
    for command in commands_of(page.read_text(encoding="utf-8")):
        assert find_unknown(command) is None, command


def test_a_wrong_command_is_found():
    assert find_unknown("cbtool train --dta x.npz  # a comment") == "--dta"
    assert find_unknown("cbtool runs lst") == "lst"
    assert find_unknown("cbtool --quiet data convert DIR --size 96") is None


def test_the_reference_is_that_of_the_commands():
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == reference.reference_markdown(), "run: make docs-generated"


def test_every_page_is_in_the_site():
    """mkdocs itself is not needed for it."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = set()

    def collect(entries):
        for entry in entries:
            (target,) = entry.values()
            if isinstance(target, list):
                collect(target)
            else:
                listed.add(target)

    collect(nav)
    pages = {page.name for page in ROOT.glob("docs/*.md")}
    assert listed == pages | {"index.md", "contributing.md"}  # the README and CONTRIBUTING
