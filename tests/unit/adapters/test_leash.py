"""The leash by itself: it insists, and it doesn't start what nobody holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from greenlight.adapters import leash

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True);"
END_A_STUBBORN_CHILD = f"""
import subprocess, sys
sys.path.insert(0, sys.argv[1])
import leash
child = subprocess.Popen(
    [sys.executable, "-S", "-c", {STUBBORN + "time.sleep(60)"!r}], stdout=subprocess.PIPE
)
child.stdout.readline()
leash.end_descendants(grace_s=0.2)
print(leash._reap())
"""


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    arguments = [sys.executable, "-c", END_A_STUBBORN_CHILD, str(Path(leash.__file__).parent)]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=20, check=True, start_new_session=True
    )
    assert done.stdout.strip() == "False"


def test_a_command_whose_parent_is_gone_already_is_not_started(tmp_path: Path) -> None:
    file = tmp_path / "started"
    not_our_pid = "1"
    arguments = [sys.executable, leash.__file__, not_our_pid, "--", "touch", str(file)]
    done = subprocess.run(arguments, timeout=20, check=False, start_new_session=True)
    assert done.returncode == leash.PARENT_GONE
    assert not file.exists()
