"""Whether a request that changes something came from our own page.

Airflow's log-in is a cookie, which a browser also sends along with a form that another site made
up. So the browser's own word about where a form comes from is asked for: it can't be forged by a
page. Who logs in by a token in a header, as scripts do, sends no cookie and needs no such word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

SAME = "same-origin"


def why_foreign(headers: Mapping[str, str], *, hosts: Collection[str]) -> str | None:
    """Return why a request is refused; `None`: it is ours.

    `headers`: names in lower case. `hosts`: the names, with ports, that this server goes by.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        if headers.get("authorization", "").lower().startswith("bearer "):
            return None
        return "the browser doesn't say which page it came from (no Origin, no Sec-Fetch-Site)"
    if site is not None and site != SAME:
        return f"it came from another site (Sec-Fetch-Site: {site})"
    if origin is not None and urlsplit(origin).netloc not in hosts:
        return f"it came from {origin}, and this is {' or '.join(sorted(hosts))}"
    return None
