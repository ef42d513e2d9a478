"""`make test-faults`: damage a backup in every known way. The last line is one JSON object."""

from __future__ import annotations

import json

from greenlight.core.settings import load_settings
from greenlight.entrypoints import backup_faults


def main() -> None:
    """Run the matrix; the exit code is 1 when a fault was not noticed or a healthy set accused."""
    matrix = backup_faults.run(load_settings(), say=lambda text: print(text, flush=True))
    print(json.dumps(matrix.summary))
    matrix.require_all()


if __name__ == "__main__":
    main()
