"""The one style of the pictures in a page: SVG whose colours follow the page's, light or dark."""

import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette, which people tell apart whatever colours they see, without its yellow,
# which is hard to see on white. https://jfly.uni-koeln.de/color/
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a")
MARKERS = "osD^vPX"
# Stand-ins that no picture has otherwise: the page gives them the colours of its text and rules.
INK, RULE = "#010203", "#010204"
SETTINGS: Any = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",  # text stays text: small, and read aloud
    "svg.hashsalt": "cbtool",  # the same picture gives the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "grid.color": RULE,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_figure(rows: int = 1, columns: int = 1, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` × `columns` axes, as wide as a page's column; height: in inches."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.4, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.ravel())


def escape_formulas(text: str) -> str:
    """`text`, a name that somebody chose, as matplotlib is to draw it: two dollar signs in a text
    would make a formula of what stands between them, and an error of what is none."""
    return text.replace("$", r"\$")


def add_legend(axes: Axes, **places: Any) -> None:
    """A legend without a frame, in the page's colour. places: as of `Axes.legend`."""
    axes.legend(frameon=False, labelcolor=INK, **places)


def to_svg(figure: Figure, title: str, description: str) -> Markup:
    """`figure` as an SVG element for a page. title: what it shows; description: what is to be seen
    in it, for those who do not see it."""
    text = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Two pictures in one page must not share a name; groups need none.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    prefix = re.sub(r"\W+", "-", title.lower())
    body = re.sub(r'(id="|href="#|url\(#)', rf"\1{prefix}-", body)
    body = body.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    # Without a size of its own, it is as wide as its column.
    body = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"', r"\1\2", body, count=1)
    label = escape(f"{title}. {description}")
    return Markup(body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
