"""What mkdocs does beside its configuration: the README is the site's first page.

Pages of the repository link to each other as files; these links become the site's.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that lie elsewhere in the repository.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: Any) -> Files:
    """Adds PAGES, and the pictures and pages that these name in docs/ are here already."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=convert_links(text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page in docs/, whose links to the repository's files lead into the site."""
    return convert_links(markdown)


def convert_links(text: str) -> str:
    """`text` with its links to pages as the site has them; other files of the repository, which are
    not in the site, are named without a link."""
    text = re.sub(r"\]\(docs/", "](", text)
    for source, page in PAGES.items():
        text = re.sub(rf"\]\((\.\./)?{re.escape(source)}", f"]({page}", text)
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)?(?:examples|toolkit|tests|tools)/[^)]*\)", r"`\1`", text
    )
