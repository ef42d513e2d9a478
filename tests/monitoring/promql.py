"""What PromQL expressions ask for."""

import re

from greenlight.core.metrics import ForeignMetric, MetricName

KNOWN = {*MetricName, *ForeignMetric}
WORDS = frozenset(
    {
        "abs",
        "absent",
        "and",
        "avg",
        "by",
        "changes",
        "count",
        "histogram_quantile",
        "increase",
        "max",
        "min",
        "on",
        "or",
        "rate",
        "sum",
        "time",
        "unless",
        "vector",
    }
)
GROUPING = r"\b(by|on|ignoring|group_left|group_right)\s*\([^)]*\)"


def metrics_in(expr):
    """The metrics that an expression asks for: its words, less labels, functions and operators."""
    named = re.findall(r'__name__=~"([^"]+)"', expr)
    bare = re.sub(rf'"[^"]*"|\[[^\]]*\]|{GROUPING}', "", expr)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r"\{[^}]*\}", "", bare)))
    bases = {name.removesuffix("_bucket").removesuffix("_count") for name in words - WORDS}
    return bases | {name for alternatives in named for name in alternatives.split("|")}


def unknown_in(expr, *, recorded=()):
    """The metrics that nobody exposes, and no rule records."""
    return metrics_in(expr) - KNOWN - set(recorded)
