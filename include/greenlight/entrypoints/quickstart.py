"""`greenlight quickstart`: a stack that serves, in minutes and without the weight of a model.

What is not real: the engines, which are simulated, and the model, which is tiny and random.
Import, approval, the deploy by Airflow, router, gateway, backups and monitoring are real.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.settings import Settings

if TYPE_CHECKING:
    from greenlight.adapters.stack.services import StackAddresses
    from greenlight.entrypoints.demo import Say

FLEET = "simulated"
MODEL = "simulated"
ROLLOUT = "drill"
BY = "make quickstart"


def go_live(settings: Settings, addresses: StackAddresses, *, say: Say) -> None:
    """Import the model and deploy it to the fleet; what is live already is started again.

    Raises:
        ConfigError: fleet.yaml or rollout.yaml lacks what is deployed, or with what.
        GateError: it did not go live; the message is that of the task that failed.
    """
    from greenlight.entrypoints import demo, demo_deploy, models
    from greenlight.testing.tiny_model import make_tiny

    with tempfile.TemporaryDirectory() as scratch:
        folder = make_tiny(settings, Path(scratch) / MODEL)
        version = models.import_model(settings, str(folder), name=MODEL)
    say(f"Model: {MODEL} version {version.version}, digest {version.digest[:12]}, tiny and random")
    demo_deploy.approve_baseline(settings, model=MODEL, version=version.version, by=BY)
    api = demo.open_api(addresses, demo_deploy.DAG)
    deploy = demo_deploy.DeployDemo(api=api, settings=settings, fleet=FLEET, rollout=ROLLOUT)
    deploy.start_with(version.version, digest=version.digest, say=say)


def back_up_and_restore(settings: Settings, *, say: Say) -> None:
    """Make a set, which is read back in every region, and restore a random second of it elsewhere.

    Raises:
        GateError: a rung of the drill was not passed.
    """
    from greenlight.entrypoints import restore_drill
    from greenlight.entrypoints.backup import Backups
    from greenlight.entrypoints.backup_tools import open_tools

    ended = Backups(open_tools(settings)).run(by=BY, say=say)
    say(f"Backup: set {ended.backup.id}, read back in {len(ended.verifications)} regions")
    climbed, report = restore_drill.drill(settings=settings, say=say)
    restore_drill.require_passed(climbed)
    say(f"Restored, up to the champion's own words; the report: {report}")
