"""Write Kibana's saved objects: a data view, searches, one dashboard (`kibana.ndjson`).

Run it after a change: `python monitoring/elastic/saved_objects.py`. The objects have the form of
Kibana 7.10, which says its version in each; newer ones migrate it when they import it. A test
compares the file with this module, and every field with index-template.json; no Kibana has read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("kibana.ndjson")
VIEW, REJECTED = "greenlight-logs", "greenlight-rejected"
MIGRATED = {
    "index-pattern": "7.6.0",
    "search": "7.9.3",
    "visualization": "7.10.0",
    "dashboard": "7.9.3",
}
LINE = ("service.name", "log.level", "message")
Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Lines that somebody looks for."""

    id: str
    title: str
    about: str
    query: str
    columns: tuple[str, ...] = LINE
    view: str = VIEW


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines counted: over time when `by` stands beside the time, else in a table."""

    id: str
    title: str
    about: str
    by: tuple[str, ...]
    query: str = ""
    over_time: bool = False


SEARCHES = (
    Search(
        id="greenlight-errors", title="Errors", query="log.level : (error or critical)",
        about="What every service reports as an error.",
        columns=(*LINE, "error.type", "trace.id"),
    ),
    Search(
        id="greenlight-trace", title="One trace", query="trace.id : *",
        about="Lines that belong to a trace: put its id in the place of the star.",
        columns=(*LINE, "trace.id", "span.id"),
    ),
    Search(
        id="greenlight-run", title="One run", query="labels.run_id : *",
        about="Lines of Airflow's runs and of rollouts: put the run's id in the place of the star.",
        columns=("labels.dag_id", "labels.task_id", "labels.run_id", "log.level", "message"),
    ),
    Search(
        id="greenlight-gateway", title="Gateway", query="service.name : greenlight-gateway",
        about="What the gateway's workers say.", columns=(*LINE, "log.logger", "trace.id"),
    ),
    Search(
        id="greenlight-rejected", title="Refused lines", query="*", view=REJECTED,
        about="Lines that the index template refused, and why.",
        columns=("error.message", "message"),
    ),
)  # fmt: skip
CHARTS = (
    Chart(
        id="greenlight-levels", title="Lines by level", by=("log.level",), over_time=True,
        about="How much is logged, and how bad it is.",
    ),
    Chart(
        id="greenlight-services", title="Lines by service", by=("service.name", "log.level"),
        about="Who logs how much.",
    ),
    Chart(
        id="greenlight-error-sources", title="Errors by logger",
        by=("log.logger", "error.type"), query="log.level : (error or critical)",
        about="Where errors come from.",
    ),
)  # fmt: skip


def main() -> None:
    """Write the file anew."""
    FILE.write_text(text(), encoding="utf-8")


def text() -> str:
    """Return the file: one object a line, those that others name first."""
    return "".join(json.dumps(one, sort_keys=True) + "\n" for one in objects())


def objects() -> list[Object]:
    """Return every object."""
    views = [_view(VIEW, "Greenlight logs", "greenlight-logs*"),
             _view(REJECTED, "Greenlight, refused lines", "greenlight-rejected")]  # fmt: skip
    return [*views, *map(_search, SEARCHES), *map(_chart, CHARTS), _dashboard()]


def _object(kind: str, name: str, attributes: Object, references: list[Object]) -> Object:
    return {
        "type": kind,
        "id": name,
        "attributes": attributes,
        "references": references,
        "migrationVersion": {kind: MIGRATED[kind]},
    }


def _view(name: str, title: str, pattern: str) -> Object:
    attributes = {"title": pattern, "name": title, "timeFieldName": "@timestamp"}
    return _object("index-pattern", name, attributes, [])


def _source(query: str) -> Object:
    found = {
        "query": {"query": query, "language": "kuery"},
        "filter": [],
        "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index",
    }
    return {"searchSourceJSON": json.dumps(found, sort_keys=True)}


def _reference(view: str) -> list[Object]:
    name = "kibanaSavedObjectMeta.searchSourceJSON.index"
    return [{"name": name, "type": "index-pattern", "id": view}]


def _search(search: Search) -> Object:
    attributes = {
        "title": f"Greenlight: {search.title}",
        "description": search.about,
        "columns": list(search.columns),
        "sort": [["@timestamp", "desc"]],
        "hits": 0,
        "version": 1,
        "kibanaSavedObjectMeta": _source(search.query),
    }
    return _object("search", search.id, attributes, _reference(search.view))


def _chart(chart: Chart) -> Object:
    aggregations: list[Object] = [
        {"id": "1", "enabled": True, "type": "count", "params": {}, "schema": "metric"}
    ]
    if chart.over_time:
        every = {"field": "@timestamp", "interval": "auto", "min_doc_count": 1}
        aggregations.append(_aggregation("date_histogram", every, "segment", len(aggregations)))
    for field in chart.by:
        terms = {"field": field, "orderBy": "1", "order": "desc", "size": 10}
        place = "group" if chart.over_time else "bucket"
        aggregations.append(_aggregation("terms", terms, place, len(aggregations)))
    kind = "histogram" if chart.over_time else "table"
    state = {
        "title": chart.title,
        "type": kind,
        "params": _bars() if chart.over_time else {"perPage": 10, "showTotal": False},
        "aggs": aggregations,
    }
    attributes = {
        "title": f"Greenlight: {chart.title}",
        "description": chart.about,
        "visState": json.dumps(state, sort_keys=True),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _source(chart.query),
    }
    return _object("visualization", chart.id, attributes, _reference(VIEW))


def _aggregation(kind: str, params: Object, schema: str, before: int) -> Object:
    return {
        "id": str(before + 1),
        "enabled": True,
        "type": kind,
        "params": params,
        "schema": schema,
    }


def _bars() -> Object:
    return {
        "type": "histogram",
        "addLegend": True,
        "addTooltip": True,
        "legendPosition": "right",
        "categoryAxes": [
            {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True,
             "scale": {"type": "linear"}, "labels": {"show": True, "filter": True}}
        ],
        "valueAxes": [
            {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left",
             "show": True, "scale": {"type": "linear", "mode": "normal"},
             "labels": {"show": True}, "title": {"text": "lines"}}
        ],
        "seriesParams": [
            {"show": True, "type": "histogram", "mode": "stacked", "valueAxis": "ValueAxis-1",
             "data": {"id": "1", "label": "lines"}}
        ],
    }  # fmt: skip


PLACES = (
    ("visualization", "greenlight-levels", {"x": 0, "y": 0, "w": 48, "h": 12}),
    ("visualization", "greenlight-services", {"x": 0, "y": 12, "w": 24, "h": 12}),
    ("visualization", "greenlight-error-sources", {"x": 24, "y": 12, "w": 24, "h": 12}),
    ("search", "greenlight-errors", {"x": 0, "y": 24, "w": 48, "h": 18}),
)


def _dashboard() -> Object:
    panels = [
        {
            "version": "7.10.0",
            "panelIndex": str(number),
            "gridData": {**place, "i": str(number)},
            "embeddableConfig": {},
            "panelRefName": f"panel_{number}",
        }
        for number, (_, _, place) in enumerate(PLACES)
    ]
    source = {"query": {"query": "", "language": "kuery"}, "filter": []}
    attributes = {
        "title": "Greenlight: logs",
        "description": "How much is logged, by whom, and what went wrong.",
        "panelsJSON": json.dumps(panels, sort_keys=True),
        "optionsJSON": json.dumps({"hidePanelTitles": False, "useMargins": True}),
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "hits": 0,
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source, sort_keys=True)},
    }
    references = [
        {"name": f"panel_{number}", "type": kind, "id": name}
        for number, (kind, name, _) in enumerate(PLACES)
    ]
    return _object("dashboard", "greenlight-logs", attributes, references)


if __name__ == "__main__":
    main()
