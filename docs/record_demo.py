"""Run `make demo` and write docs/demo.cast, line by line with its time: `make record-demo`.

The format is asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): `asciinema play -i 1
docs/demo.cast` plays it, and any editor shows it. Without a terminal the demo prints a line every
quarter of a minute instead of drawing over one. Keys that are shown once are not kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 120, 40
KEY = re.compile(r"glk_\w+")


def main() -> int:
    """Record; the exit code is the demo's."""
    began = time.monotonic()
    header = {
        "version": 2, "width": COLUMNS, "height": ROWS, "timestamp": int(time.time()),
        "idle_time_limit": 1, "title": "make demo",
    }  # fmt: skip
    lines = [json.dumps(header)]
    with subprocess.Popen(
        ["make", "--no-print-directory", "demo"],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        for text in demo.stdout:
            sys.stdout.write(text)
            sys.stdout.flush()
            event = (round(time.monotonic() - began, 2), "o", f"{shown(text)}\r\n")
            lines.append(json.dumps(event, ensure_ascii=False))
    (PROJECT / "docs/demo.cast").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return demo.returncode


def shown(text: str) -> str:
    """Return a line without what is this machine's, or a secret."""
    home = text.rstrip("\n").replace(str(PROJECT), "~/greenlight")
    return KEY.sub("glk_…", home)


if __name__ == "__main__":
    sys.exit(main())
