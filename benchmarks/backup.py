"""`make bench-backup`: what the pipeline adds to bare pgBackRest and restic, and how cost grows.

In one run, on one machine, with two real S3 stores. The bare side is what somebody would put into
a script: both tools by hand into both regions, and each tool's own check of what it wrote. The
pipeline's side is a whole `backup run`: the same, with the restore point, the registry's list, the
manifest and its read-back. They take turns (A B B A) with full copies into emptied repositories of
files. Then one percent of the rows changes and an incremental set is made, and the newest set is
restored. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filler import change, fill
from greenlight.adapters.pgbackrest.config import STANZA
from greenlight.adapters.s3 import keys_under, open_client, read_keys
from greenlight.adapters.stack import postgres
from greenlight.backup.backup_file import S3Store
from greenlight.backup.contents import SOURCES
from greenlight.backup.sets import BackupKind, BackupSet
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.restore import Restores
from greenlight.testing.backup_worlds import REGIONS, BackupWorld, backup_world

MODEL_BYTES = 64_000_000


def main() -> None:
    """Measure, print the table, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, nargs="+", default=[0.1, 1, 4], help="%(default)s")
    sizes = sorted(parser.parse_args().gb)
    settings = load_settings()
    settings.work.mkdir(parents=True, exist_ok=True)
    by_gb: dict[str, JsonDict] = {}
    with (
        tempfile.TemporaryDirectory(dir=settings.work, prefix="bench-") as folder,
        backup_world(Path(folder)) as world,
    ):
        (world.settings.home / "models").mkdir()
        (world.settings.home / "models/weights.bin").write_bytes(os.urandom(MODEL_BYTES))
        for gb in sizes:
            print(f"\n{gb:g} GB: filled to {fill(world.settings, gb=gb):.2f} GB", flush=True)
            by_gb[f"{gb:g}"] = measure(world, Path(folder))
    print(
        json.dumps(
            {
                "pipeline_over_bare": _median(by_gb, "pipeline_over_bare"),
                "pipeline_over_bare_unchecked": _median(by_gb, "pipeline_over_bare_unchecked"),
                "incremental_over_full_time": by_gb[f"{sizes[-1]:g}"]["incremental_over_full_time"],
                "incremental_over_full_bytes": by_gb[f"{sizes[-1]:g}"][
                    "incremental_over_full_bytes"
                ],
                "by_gb": by_gb,
            }
        )
    )


def measure(world: BackupWorld, folder: Path) -> JsonDict:
    """Return everything about the database as large as it is now."""
    seconds: dict[str, list[float]] = {"copy": [], "check": [], "pipeline": []}
    full: BackupSet | None = None
    for who in ("bare", "pipeline", "pipeline", "bare"):
        empty_files(world)
        if who == "bare":
            seconds["copy"].append(timed("bare: copies", lambda: bare_copies(world)))
            seconds["check"].append(timed("bare: checks", lambda: bare_checks(world)))
        else:
            began = time.monotonic()
            full = world.backups().run(BackupKind.FULL, by="benchmark", say=print).backup
            seconds["pipeline"].append(time.monotonic() - began)
            print(f"pipeline: {seconds['pipeline'][-1]:.1f} s", flush=True)
    assert full is not None
    change(world.settings, part=0.01)
    began = time.monotonic()
    incremental = world.backups().run(BackupKind.INCREMENTAL, by="benchmark", say=print).backup
    incremental_s = time.monotonic() - began
    restored_s, size = restore(world, folder / "restored")
    pipeline = statistics.median(seconds["pipeline"])
    copies, checks = (statistics.median(seconds[part]) for part in ("copy", "check"))
    return {
        "bare_s": round(copies + checks, 1),
        "bare_unchecked_s": round(copies, 1),
        "pipeline_s": round(pipeline, 1),
        "pipeline_over_bare": round(pipeline / (copies + checks), 3),
        "pipeline_over_bare_unchecked": round(pipeline / copies, 3),
        "incremental_s": round(incremental_s, 1),
        "incremental_over_full_time": round(incremental_s / pipeline, 3),
        "incremental_over_full_bytes": round(stored(incremental) / stored(full), 4),
        "restore_s": round(restored_s, 1),
        "restore_mb_per_s": round(size / 1e6 / restored_s, 1),
    }


def bare_copies(world: BackupWorld) -> None:
    """Both tools by hand, into both regions."""
    for region in REGIONS:
        pgbackrest(world, region, "backup", "--type=full")
        restic(world, region, "init", "--repository-version", "2")
        paths = [source.path for source in SOURCES if (world.settings.home / source.path).exists()]
        restic(world, region, "backup", *paths)


def bare_checks(world: BackupWorld) -> None:
    """Each tool's own check of all that it wrote."""
    for region in REGIONS:
        pgbackrest(world, region, "verify", "--output=text", "--verbose")
        restic(world, region, "check", "--read-data")


def pgbackrest(world: BackupWorld, region: str, *arguments: str) -> None:
    """Run it as the cluster's account, with the configuration that is there."""
    cluster = postgres.find_cluster(postgres.home_in(world.settings), is_root=os.geteuid() == 0)
    with postgres.opened(cluster) as (home, handles):
        subprocess.run(
            [
                *postgres.become(cluster.account), "pgbackrest",
                f"--config={home}/pgbackrest/{region}.conf", f"--stanza={STANZA}", *arguments,
            ],
            check=True, pass_fds=handles, env=postgres.ENVIRONMENT, cwd="/",
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def restic(world: BackupWorld, region: str, *arguments: str) -> None:
    """Run it on the region's repository, without a cache: a proof reads the store."""
    store = world.stores[region].s3
    keys = read_keys(store)
    assert keys is not None
    subprocess.run(
        [
            "restic", "--no-cache", "--quiet", "--cacert", str(store.ca_file),
            "-o", "s3.bucket-lookup=path",
            "-r", f"s3:{store.endpoint}/{store.bucket}/restic", *arguments,
        ],
        check=True, cwd=world.settings.home, stdout=subprocess.DEVNULL,
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": keys.access,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "RESTIC_PASSWORD_FILE": str(world.settings.secrets / "backup_restic"),
        },
    )  # fmt: skip


def empty_files(world: BackupWorld) -> None:
    """Delete the repositories of files, so that nobody finds anything already there."""
    for region in REGIONS:
        store: S3Store = world.stores[region].s3
        client = open_client(store)
        for key in list(keys_under(client, store, prefix="restic/")):
            client.delete_object(Bucket=store.bucket, Key=key)


def restore(world: BackupWorld, target: Path) -> tuple[float, int]:
    """Restore the newest set; return the seconds and the bytes that were written."""
    restores = Restores(world.tools())
    plan = restores.plan("b", to=target)
    began = time.monotonic()
    restores.run(plan, say=print)
    seconds = time.monotonic() - began
    shutil.rmtree(target)
    return seconds, plan.require_possible().bytes


def stored(backup: BackupSet) -> int:
    """Return what a set added to the first region."""
    copy = backup.copies[0]
    return copy.database_bytes + copy.files_bytes


def timed(name: str, do: Callable[[], None]) -> float:
    """Print and return how long it took."""
    began = time.monotonic()
    do()
    seconds = time.monotonic() - began
    print(f"{name}: {seconds:.1f} s", flush=True)
    return seconds


def _median(by_gb: dict[str, JsonDict], name: str) -> float:
    return round(statistics.median(entry[name] for entry in by_gb.values()), 3)


if __name__ == "__main__":
    main()
