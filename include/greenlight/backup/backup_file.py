"""What an operator chooses about backups: regions, schedule, retention, targets.

`include/config/backup.example.yaml` documents every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from greenlight.backup.sets import RegionName
from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value

Count = Annotated[int, Field(ge=0)]


class S3Store(Value):
    """A bucket. Keys are in files of mode 600; none: the machine's own role (AWS).

    `endpoint` is an https address: pgBackRest speaks nothing else.
    """

    endpoint: Annotated[str, Field(pattern=r"^https://[^/\s]+$")]
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: str = "us-east-1"
    ca_file: Path | None = None
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    kms_key_id: str | None = None
    path_style: bool = False
    """Needed by stores that are not AWS."""

    @model_validator(mode="after")
    def _both_keys_or_none(self) -> S3Store:
        if (self.access_key_file is None) != (self.secret_key_file is None):
            raise ValueError("access_key_file and secret_key_file belong together")
        return self


class Region(Value):
    """One region. Without `s3` it is the embedded store of that name."""

    name: RegionName
    s3: S3Store | None = None


class Retention(Value):
    """Grandfather, father, son: the newest set of each of so many days, weeks and months.

    `min_verified`: so many verified sets stay whatever else is said.
    """

    daily: Count = 7
    weekly: Count = 4
    monthly: Count = 6
    min_verified: Annotated[int, Field(ge=1)] = 3
    lock_days: Annotated[int, Field(ge=0)] = 0
    """For so long nobody, we included, can delete what a store holds (object lock); 0: no lock."""


class Targets(Value):
    """What drills are measured against."""

    rto_s: Annotated[float, Field(gt=0)] = 900
    rpo_s: Annotated[float, Field(gt=0)] = 900
    verified_age_h: Annotated[float, Field(gt=0)] = 26
    """The newest verified set may be this old."""
    drill_age_h: Annotated[float, Field(gt=0)] = 26


class BackupFile(Value):
    """The file."""

    regions: Annotated[tuple[Region, ...], Field(min_length=1)]
    full_every_days: Annotated[int, Field(ge=1)] = 7
    retention: Retention = Retention()
    targets: Targets = Targets()

    @model_validator(mode="after")
    def _unique_regions(self) -> BackupFile:
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"regions: {', '.join(twice)} is there more than once")
        return self

    def region(self, name: str) -> Region:
        """Return one region.

        Raises:
            ConfigError: there is none of that name.
        """
        for region in self.regions:
            if region.name == name:
                return region
        known = ", ".join(region.name for region in self.regions)
        raise ConfigError(f"there is no region {name!r}; there are {known}")


def load_backup_file(path: Path) -> BackupFile:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or has an unknown key or a bad value.
    """
    return read_config(path, BackupFile)
