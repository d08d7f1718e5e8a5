"""Records the README's picture of a terminal: what `cbtool demo` prints, on a real terminal.

python -m tests.support.record_terminal docs/terminal.svg
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100
COMMAND = ("cbtool", "demo")


def record(folder: Path) -> str:
    """What the command prints on a terminal, with its colours; progress is left out."""
    main, other = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    program = [sys.executable, "-m", "tools", *COMMAND[1:], "--out", "demo"]
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        program, stdout=other, stderr=subprocess.DEVNULL, cwd=folder, env=environment
    ) as process:
        os.close(other)
        printed = b""
        while True:
            try:
                block = os.read(main, 1 << 16)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not block:
                break
            printed += block
    assert process.returncode == 0
    return printed.decode().replace("\r\n", "\n").replace(str(folder), "~")


def draw(printed: str, path: Path) -> None:
    """Writes `printed` as an SVG picture of a terminal."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="256"
        )
        console.print(Text.from_ansi(f"$ {' '.join(COMMAND)}\n{printed}"))
        picture = console.export_svg(title=" ".join(COMMAND))
    # The fonts of rich's picture come from another host: the reader's own will do.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        draw(record(Path(place)), Path(sys.argv[1]))
