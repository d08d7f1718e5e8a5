"""Templates made into HTML files that need no other file, and load nothing."""

import base64
import hashlib
from datetime import datetime
from importlib import metadata
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toolkit.core.files import is_numeric


def render(template: str, values: dict[str, Any]) -> str:
    """The page that `template` makes of `values`; whatever is text in them is shown as text."""
    environment = Environment(
        loader=PackageLoader("toolkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = format_cell
    environment.tests["numeric"] = is_numeric
    loaded = {name: _read_template(environment, name) for name in ("page.css", "page.js")}
    digest = base64.b64encode(hashlib.sha256(loaded["page.js"].encode()).digest()).decode()
    return environment.get_template(template).render(
        values,
        style=Markup(loaded["page.css"]),
        script=Markup(loaded["page.js"]),
        script_hash=f"sha256-{digest}",
        version=metadata.version("cbtool"),
        written=f"{datetime.now():%d %B %Y, %H:%M}",
    )


def format_cell(value: Any) -> str:
    """A cell of a table, as a person reads it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _read_template(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
