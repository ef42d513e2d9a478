"""The assets by which DAGs of Greenlight start each other.

Airflow leaves a URI alone whose scheme begins with `x-`. For any other it loads the handlers of
every provider to look for one, boto3 among them: half a second each time a file is parsed.
"""

from __future__ import annotations

from airflow.sdk import Asset

CANDIDATE = Asset("x-greenlight://registry/candidate")
CHAMPION = Asset("x-greenlight://registry/champion")
DECISION = Asset("x-greenlight://registry/decision")
