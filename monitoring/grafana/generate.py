"""Write Grafana's dashboards and Prometheus' console pages from the boards (`make dashboards`).

Grafana's JSON is made with its own builders, so that what Grafana renames breaks here and not in a
browser. The console pages are the same panels for a Prometheus alone: tables of what is, with links
to its graphs.
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from urllib.parse import quote

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.dashboard import Row as GrafanaRow
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

sys.path.insert(0, str(Path(__file__).parent))
from boards import BOARDS
from panels import Board, Kind, Panel, Variable

HERE = Path(__file__).parent
DASHBOARDS = HERE / "dashboards"
CONSOLES = HERE.parent / "prometheus/consoles"
HEIGHT = 8
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
ROLLOUTS = "changes(greenlight_live_version[2m]) > 0"


def main() -> None:
    """Write everything anew; what has no board any more is removed."""
    for folder, suffix, render in ((DASHBOARDS, "json", dashboard), (CONSOLES, "html", console)):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"*.{suffix}"):
            old.unlink()
        for board in BOARDS:
            (folder / f"{board.uid}.{suffix}").write_text(render(board), encoding="utf-8")
    (CONSOLES / "index.html").write_text(index(), encoding="utf-8")


def dashboard(board: Board) -> str:
    """Return a board as Grafana's JSON."""
    made = (
        Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["greenlight"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .annotation(
            AnnotationQuery().name("Rollouts").datasource(SOURCE).expr(ROLLOUTS).enable(True)
            .icon_color("purple")
        )
        .link(
            DashboardLink("Greenlight").type(model.DashboardLinkType.DASHBOARDS)
            .tags(["greenlight"]).as_dropdown(True).keep_time(True)
        )
    )  # fmt: skip
    for variable in board.variables:
        made.with_variable(_choice(variable))
    for row in board.rows:
        made.with_row(GrafanaRow(row.title))
        for panel in row.panels:
            made.with_panel(_panel(panel))
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _choice(variable: Variable) -> QueryVariable:
    return (
        QueryVariable(variable.name)
        .label(variable.name)
        .datasource(SOURCE)
        .query(f"label_values({variable.metric}, {variable.name})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel:
    made = _picture(panel)
    made.title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.no_value("no data").span(panel.width).height(HEIGHT)
    if panel.steps:
        steps = [model.Threshold(value=step.value, color=step.colour) for step in panel.steps]
        made.thresholds(ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.runbook is not None:
        made.links([DashboardLink("Runbook").type(model.DashboardLinkType.LINK).url(panel.runbook)])
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + number))
        target.legend_format(query.legend or "__auto").datasource(SOURCE)
        if panel.kind in (Kind.NUMBER, Kind.TABLE):
            target.instant()
        if panel.kind is Kind.TABLE:
            target.format(PromQueryFormat.TABLE)
        made.with_target(target)
    return made


def _picture(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel:
    if panel.kind is Kind.NUMBER:
        return stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if panel.kind is Kind.TABLE:
        return table.Panel()
    made = timeseries.Panel().fill_opacity(8).show_points(options.VisibilityMode.NEVER)
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST)
    made.legend(legend.placement(options.LegendPlacement.BOTTOM).show_legend(True))
    if panel.kind is Kind.STACKED:
        made.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL)).fill_opacity(40)
    return made


def console(board: Board) -> str:
    """Return a board as a page that Prometheus renders: what is now, and links to graphs."""
    parts = [_head(board.title), f"<p>{html.escape(board.about)}</p>"]
    for row in board.rows:
        parts.append(f"<h2>{html.escape(row.title)}</h2><div class=row>")
        parts += [_console_panel(panel, board) for panel in row.panels]
        parts.append("</div>")
    return "\n".join([*parts, _FOOT])


def index() -> str:
    """Return the page that lists the others."""
    items = (
        f'<li><a href="{b.uid}.html">{html.escape(b.title)}</a> {html.escape(b.about)}</li>'
        for b in BOARDS
    )
    return "\n".join([_head("Greenlight"), "<ul>", *items, "</ul>", _FOOT])


def everything(query: str, board: Board) -> str:
    """Return a query with all of every variable."""
    for variable in board.variables:
        query = query.replace(f"${variable.name}", ".+")
    return query.replace("$__rate_interval", "5m").removesuffix(" * 1000")  # Grafana's milliseconds


def _console_panel(panel: Panel, board: Board) -> str:
    rows = []
    graphs = []
    for number, query in enumerate(panel.queries):
        expr = everything(query.expr, board)
        graphs.append(f"g{number}.expr={quote(expr)}&g{number}.tab=0&g{number}.range_input=6h")
        rows.append(
            f"{{{{ range query {_quoted(expr)} }}}}<tr><td>{_labels(expr)}</td>"
            f"<td class=value>{_value(panel)}</td></tr>"
            f"{{{{ else }}}}<tr><td colspan=2 class=none>no data</td></tr>{{{{ end }}}}"
        )
    link = f"../graph?{'&'.join(graphs)}"
    return (
        f'<section><h3><a href="{html.escape(link)}">{html.escape(panel.title)}</a></h3>'
        f"<p>{html.escape(panel.about)}</p><table>{''.join(rows)}</table></section>"
    )


def _labels(expr: str) -> str:
    """Return a series' labels, less those that say only where it was scraped."""
    hidden = [name for name in ("__name__", "job", "instance") if f"by ({name})" not in expr]
    unless = " ".join(f'(ne $name "{name}")' for name in hidden)
    return (
        f"{{{{ range $name, $value := .Labels }}}}{{{{ if and {unless} }}}}"
        "<span>{{ $value }}</span> {{ end }}{{ end }}"
    )


def _value(panel: Panel) -> str:
    shown = {
        "percentunit": "{{ .Value | humanizePercentage }}",
        "s": "{{ .Value | humanizeDuration }}",
        "dateTimeFromNow": "{{ .Value | humanizeTimestamp }}",
        "bytes": "{{ .Value | humanize1024 }}B",
    }
    return shown.get(panel.unit, "{{ .Value | humanize }}")


def _quoted(expr: str) -> str:
    return f"`{expr}`"


def _head(title: str) -> str:
    return f"""<!doctype html><html lang=en><head><meta charset=utf-8>
<meta name=viewport content="width=device-width"><meta http-equiv=refresh content=30>
<title>{html.escape(title)}</title><style>
:root{{color-scheme:light dark}} body{{font:15px system-ui;margin:1.5rem;max-width:90rem}}
.row{{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}}
section{{border:1px solid #8884;border-radius:.5rem;padding:.75rem}} h3{{margin:0;font-size:1rem}}
section p{{opacity:.75;margin:.25rem 0 .5rem;font-size:.85rem}} table{{width:100%}}
td.value{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
.none{{opacity:.6}} span{{margin-right:.4em}}
</style></head><body><p><a href="index.html">Greenlight</a></p><h1>{html.escape(title)}</h1>"""


_FOOT = "</body></html>\n"

if __name__ == "__main__":
    main()
