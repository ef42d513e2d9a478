"""Model folders on the host: copied beside, checked byte by byte, then renamed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from greenlight.adapters.hosts.agent.ground import (
    CHUNK,
    Json,
    Refusal,
    inside,
    lock,
    opened,
    record_of,
    sha256_of,
    write_json,
)

BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    socket.timeout,  # no TimeoutError until Python 3.10
)
"""What ends a download early. Other errors of the system are the disk's."""


def ping(request: Json) -> Json:
    """Write a file, and return which of `programs`, that the engines need, the host lacks."""
    root = Path(request["root"])
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root):
        return {"missing": [name for name in request["programs"] if shutil.which(name) is None]}


def plan_upload(request: Json) -> Json:
    """Make the folders of a copy and return the files that are not there in full.

    `have`: bytes that certainly arrived; `sha256`: of those. The piece that was under way when a
    link was cut may have holes, so it is not counted.
    """
    root, manifest = Path(request["root"]), request["manifest"]
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if (
        _marker(root, manifest["digest"]).exists()
        and (root / "models" / manifest["digest"]).is_dir()
    ):
        return {"verified": True, "files": [], "free": free}
    making = root / "incoming" / manifest["digest"]
    wanted = []
    for entry in manifest["files"]:
        path = inside(making, entry["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        if path.exists() and size == entry["size"] and sha256_of(path) == entry["sha256"]:
            continue
        have = min((max(size, 1) - 1) // CHUNK * CHUNK, entry["size"])
        found = sha256_of(path, have) if have else ""
        wanted.append({"path": entry["path"], "have": have, "sha256": found})
    return {"verified": False, "files": wanted, "free": free}


def download(request: Json) -> Json:
    """Fetch a file over HTTP from `offset` on. A server that ignores the range is read in full."""
    target = Path(request["target"])
    ranged = {"Range": f"bytes={request['offset']}-"} if request["offset"] else {}
    asked = urllib.request.Request(request["url"], headers=ranged)  # noqa: S310 - presigned by us
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            offset = request["offset"] if answer.status == 206 else 0
            with opened(target, offset) as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
    except BROKEN as error:
        raise Refusal("UnavailableError", f"{target.name} can't be downloaded: {error}") from error
    return {"size": target.stat().st_size}


def commit_model(request: Json) -> Json:
    """Check every byte of a copy; only a perfect one becomes a model. Else return what is bad.

    Bad files are deleted, so that the next attempt brings them again.
    """
    root, manifest = Path(request["root"]), request["manifest"]
    making, final = root / "incoming" / manifest["digest"], root / "models" / manifest["digest"]
    with lock(root / "models"):
        if not making.exists():
            return _verify(root, manifest)
        for path in _extra(making, manifest):
            path.unlink()
        bad = _bad_files(making, manifest)
        if bad:
            return {"bad": bad}
        _marker(root, manifest["digest"]).unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        making.rename(final)
        write_json(_marker(root, manifest["digest"]), manifest)
    return {"bad": []}


def verify_model(request: Json) -> Json:
    """Check every byte of a model. A damaged one is no model any more, but a copy to continue."""
    with lock(Path(request["root"]) / "models"):
        return _verify(Path(request["root"]), request["manifest"])


def has_model(request: Json) -> Json:
    """Return `is_there`."""
    return {"there": is_there(Path(request["root"]), request["digest"])}


def list_models(request: Json) -> Json:
    """Return the digests of verified models, oldest first."""
    return {"digests": _digests(Path(request["root"]))}


def prune(request: Json) -> Json:
    """Delete the oldest models beyond `most`, and old copies; none of `keep`, none in a slot."""
    root = Path(request["root"])
    with lock(root / "models"):
        used = {r["digest"] for r in map(record_of, (root / "slots").glob("*")) if r}
        kept = used | set(request["keep"])
        digests = _digests(root)
        spare = [digest for digest in digests if digest not in kept]
        deleted = spare[: max(0, len(digests) - request["most"])]
        for digest in deleted:
            _marker(root, digest).unlink()
        unverified = {p.name for p in (root / "models").iterdir() if p.is_dir()} - set(
            _digests(root)
        )
        for digest in unverified - used:
            shutil.rmtree(root / "models" / digest)
        for copy in (root / "incoming").glob("*"):
            if copy.name not in kept:
                shutil.rmtree(copy)
    return {"deleted": deleted}


def _verify(root: Path, manifest: Json) -> Json:
    folder, marker = root / "models" / manifest["digest"], _marker(root, manifest["digest"])
    if not marker.exists() or not folder.is_dir():
        raise Refusal("InputError", f"model {manifest['digest'][:12]} is not in {root}")
    extra = [
        {"path": path.relative_to(folder).as_posix(), "wanted": "no such file", "found": "one"}
        for path in _extra(folder, manifest)
    ]
    bad = extra + _bad_files(folder, manifest, delete=False)
    if bad:
        marker.unlink()
        making = root / "incoming" / manifest["digest"]
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(making)
        for entry in bad:
            inside(making, entry["path"]).unlink(missing_ok=True)
    else:
        os.utime(marker)  # prune deletes what was not used for longest
    return {"bad": bad}


def _bad_files(folder: Path, manifest: Json, *, delete: bool = True) -> list[Json]:
    bad = []
    for entry in manifest["files"]:
        path = inside(folder, entry["path"])
        found = sha256_of(path) if path.is_file() else "no file"
        if found != entry["sha256"]:
            bad.append({"path": entry["path"], "wanted": entry["sha256"], "found": found})
            if delete:
                path.unlink(missing_ok=True)
    return bad


def _extra(folder: Path, manifest: Json) -> list[Path]:
    listed = {entry["path"] for entry in manifest["files"]}
    return [
        path
        for path in folder.rglob("*")
        if not path.is_dir() and path.relative_to(folder).as_posix() not in listed
    ]


def is_there(root: Path, digest: str) -> bool:
    """Return whether a digest was verified, and its files have their sizes still."""
    marker, folder = _marker(root, digest), root / "models" / digest
    if not marker.exists():
        return False
    files = json.loads(marker.read_text())["files"]
    return all(
        (path := folder / entry["path"]).is_file() and path.stat().st_size == entry["size"]
        for entry in files
    )


def _digests(root: Path) -> list[str]:
    markers = sorted((root / "models").glob("*.json"), key=lambda m: (m.stat().st_mtime_ns, m.name))
    return [marker.stem for marker in markers]


def _marker(root: Path, digest: str) -> Path:
    return inside(root / "models", f"{digest}.json")
