"""What Filebeat makes of a line, as its reference says: its JSON below `json`, beside its own."""

import json

from greenlight.core.settings import PROJECT
from greenlight.testing.elastic_documents import nested

FOLDER = PROJECT / "monitoring/elastic"
STREAM = "greenlight-logs"


def read(name):
    return json.loads((FOLDER / name).read_text())


PIPELINE = read("ingest-pipeline.json")
MAPPINGS = read("index-template.json")["template"]["mappings"]


def shipped(line, *, path="/var/lib/docker/containers/c/c-json.log", **fields):
    """Return the document of a line."""
    event = {
        "@timestamp": "2026-11-26T03:33:10.000Z",
        "log": {"offset": 7, "file": {"path": path, "device_id": "1", "inode": "2"}},
        "input": {"type": "filestream"},
        "agent": {"version": "8.17.0", "name": "a", "type": "filebeat", "id": "x"},
        "host": {"name": "h"},
        "ecs": {"version": "8.0.0"},
        **fields,
    }
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return event | {"json": nested(found)}
    return event | {"message": line}
