"""The dashboards. What they ask for is in `greenlight.core.metrics`; a test runs every query."""

from __future__ import annotations

from panels import Board, Kind, Panel, Query, Row, Unit, Variable, good_above, good_below

GATEWAY, DEPLOY = "docs/runbooks/gateway.md", "docs/runbooks/deploy.md"
PLATFORM, BACKUP = "docs/runbooks/platform.md", "docs/runbooks/backup.md"
FLEET = Variable(name="fleet", metric="greenlight_live_version")
MODEL = Variable(name="model", metric="model_inference_duration_seconds_count")
TENANT = Variable(name="tenant", metric="greenlight_gateway_tokens_total")
REGION = Variable(name="region", metric="greenlight_backup_region_up")
COMPLETIONS = 'endpoint=~"/v1/.*completions"'


def quantiles(metric: str, by: str, where: str, *, rare: bool = False) -> tuple[Query, ...]:
    """Return p50, p95 and p99 of a histogram."""
    labels = f"le, {by}" if by else "le"
    return tuple(
        Query(
            expr=f"histogram_quantile({q}, sum by ({labels}) "
            f"(rate({metric}_bucket{{{where}}}[$__rate_interval])))",
            legend=f"p{round(q * 100)} {{{{{by}}}}}" if by else f"p{round(q * 100)}",
            rare=rare,
        )
        for q in (0.5, 0.95, 0.99)
    )


OVERVIEW = Board(
    uid="system-overview",
    title="System Overview",
    about="Is everything there, is anybody waiting, is anything running out.",
    rows=(
        Row(
            title="Now",
            panels=(
                Panel(
                    title="Alerts that ring",
                    about="Each has a runbook; Alertmanager knows who was told.",
                    unit=Unit.COUNT,
                    kind=Kind.NUMBER,
                    width=4,
                    steps=good_below(1, 3),
                    queries=(Query(expr='sum(ALERTS{alertstate="firing"}) or vector(0)'),),
                ),
                Panel(
                    title="Servers that answer",
                    about="Of all that Prometheus asks, fleets left out: an engine may rest, or start.",
                    unit=Unit.PERCENT,
                    kind=Kind.NUMBER,
                    width=4,
                    steps=good_above(1, 0.99),
                    runbook=f"{PLATFORM}#targetdown",
                    queries=(Query(expr='avg(up{job!~"engine|router"})'),),
                ),
                Panel(
                    title="Completions",
                    about="A second, answered or refused.",
                    unit=Unit.REQUESTS,
                    kind=Kind.NUMBER,
                    width=4,
                    queries=(Query(expr=f"sum(rate(http_requests_total{{{COMPLETIONS}}}[5m]))"),),
                ),
                Panel(
                    title="Failed",
                    about="HTTP 5xx of all completions; the objective is 0.1 %.",
                    unit=Unit.PERCENT,
                    kind=Kind.NUMBER,
                    width=4,
                    steps=good_below(0.001, 0.0144),
                    runbook=f"{GATEWAY}#gatewayerrorsburnfast",
                    queries=(Query(expr="greenlight:completion_errors:ratio_rate5m"),),
                ),
                Panel(
                    title="First token, p95",
                    about="Of streams, as clients see it.",
                    unit=Unit.SECONDS,
                    kind=Kind.NUMBER,
                    width=4,
                    steps=good_below(1, 2.5),
                    runbook=f"{GATEWAY}#gatewayfirsttokensburnfast",
                    queries=(
                        Query(
                            expr="histogram_quantile(0.95, sum by (le) "
                            "(rate(greenlight_gateway_time_to_first_token_seconds_bucket[5m])))"
                        ),
                    ),
                ),
                Panel(
                    title="Waiting",
                    about="Asked of an engine, and not begun to be answered.",
                    unit=Unit.COUNT,
                    kind=Kind.NUMBER,
                    width=4,
                    steps=good_below(8, 32),
                    runbook=f"{DEPLOY}#enginequeuegrows",
                    queries=(Query(expr="sum(model_inference_queue_length)"),),
                ),
            ),
        ),
        Row(
            title="Fleets",
            panels=(
                Panel(
                    title="Live version",
                    about="What each fleet serves, by the journal of rollouts.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    queries=(Query(expr="greenlight_live_version"),),
                ),
                Panel(
                    title="Live engines that answer",
                    about="Of the colour that is live, by fleet. A host that rests is not counted.",
                    unit=Unit.PERCENT,
                    steps=good_above(1, 0.5),
                    runbook=f"{DEPLOY}#enginedown",
                    queries=(
                        Query(
                            expr="avg by (fleet) (greenlight:live_engine:up)",
                            legend="{{fleet}}",
                        ),
                    ),
                ),
                Panel(
                    title="Servers by job",
                    about="1: it answers Prometheus.",
                    unit=Unit.UP,
                    kind=Kind.TABLE,
                    runbook=f"{PLATFORM}#targetdown",
                    queries=(Query(expr="min by (job) (up)"),),
                ),
            ),
        ),
        Row(
            title="Machines",
            panels=(
                Panel(
                    title="CPU",
                    about="Busy share of all cores.",
                    unit=Unit.PERCENT,
                    steps=good_below(0.8, 0.95),
                    queries=(
                        Query(
                            expr='1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))',
                            legend="{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    title="Memory left",
                    about="What processes may still take.",
                    unit=Unit.PERCENT,
                    steps=good_above(0.1, 0.05),
                    runbook=f"{PLATFORM}#memoryshort",
                    queries=(
                        Query(
                            expr="node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
                            legend="{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    title="Disk left",
                    about="Per file system; databases stop at 0.",
                    unit=Unit.PERCENT,
                    steps=good_above(0.2, 0.1),
                    runbook=f"{PLATFORM}#diskfull",
                    queries=(
                        Query(
                            expr='node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|overlay|squashfs"}'
                            ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|overlay|squashfs"}',
                            legend="{{instance}} {{mountpoint}}",
                        ),
                    ),
                ),
                Panel(
                    title="GPU busy",
                    about="Share of time in which any kernel ran (DCGM).",
                    unit=Unit.PERCENT,
                    width=12,
                    queries=(
                        Query(
                            expr="avg by (Hostname, gpu) (DCGM_FI_PROF_GR_ENGINE_ACTIVE)",
                            legend="{{Hostname}} {{gpu}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="GPU memory",
                    about="Taken share; both colours must fit during a rollout.",
                    unit=Unit.PERCENT,
                    width=12,
                    steps=good_below(0.95, 0.98),
                    runbook=f"{DEPLOY}#gpumemoryfull",
                    queries=(
                        Query(
                            expr="DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
                            legend="{{Hostname}} {{gpu}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
    ),
)

APPLICATION = Board(
    uid="application-performance",
    title="Application Performance",
    about="The gateway as clients see it: how much, how fast, what fails, what the cache saves.",
    variables=(MODEL,),
    rows=(
        Row(
            title="Requests",
            panels=(
                Panel(
                    title="Completions by status",
                    about="499: the client left. 429: a limit.",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    runbook=f"{GATEWAY}#gatewayerrorsburnfast",
                    queries=(
                        Query(
                            expr=f"sum by (status) (rate(http_requests_total{{{COMPLETIONS}}}[$__rate_interval]))",
                            legend="{{status}}",
                        ),
                    ),
                ),
                Panel(
                    title="Whole answers",
                    about="From a request's first byte to its answer's last.",
                    unit=Unit.SECONDS,
                    queries=quantiles("http_request_duration_seconds", "", COMPLETIONS),
                ),
                Panel(
                    title="Being answered",
                    about="Requests in the gateway now.",
                    unit=Unit.COUNT,
                    queries=(Query(expr="sum(http_active_requests)", legend="open"),),
                ),
            ),
        ),
        Row(
            title="Streams",
            panels=(
                Panel(
                    title="First token",
                    about="From asking an engine to a stream's first token.",
                    unit=Unit.SECONDS,
                    steps=good_below(1, 2.5),
                    runbook=f"{GATEWAY}#gatewayfirsttokensburnfast",
                    queries=quantiles(
                        "greenlight_gateway_time_to_first_token_seconds",
                        "colour",
                        'model=~"$model"',
                    ),
                ),
                Panel(
                    title="Between tokens",
                    about="Between two pieces of a stream.",
                    unit=Unit.SECONDS,
                    queries=quantiles(
                        "greenlight_gateway_inter_token_seconds", "colour", 'model=~"$model"'
                    ),
                ),
                Panel(
                    title="Cut",
                    about="Streams that did not reach their end, by who ended them.",
                    unit=Unit.REQUESTS,
                    runbook=f"{GATEWAY}#gatewaystreamscut",
                    queries=(
                        Query(
                            expr="sum by (outcome) (rate(greenlight_gateway_streams_cut_total"
                            '{model=~"$model"}[$__rate_interval]))',
                            legend="{{outcome}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Objectives",
            panels=(
                Panel(
                    title="Error budget: failures",
                    about="Burn rate: at 1 the month's budget (0.1 %) lasts a month.",
                    unit=Unit.COUNT,
                    steps=good_below(1, 14.4),
                    runbook=f"{GATEWAY}#gatewayerrorsburnfast",
                    width=12,
                    queries=tuple(
                        Query(expr=f"greenlight:completion_errors:ratio_rate{w} / 0.001", legend=w)
                        for w in ("5m", "1h", "6h")
                    ),
                ),
                Panel(
                    title="Error budget: late first tokens",
                    about="Burn rate: at 1 the month's budget (1 % over 2.5 s) lasts a month.",
                    unit=Unit.COUNT,
                    steps=good_below(1, 14.4),
                    runbook=f"{GATEWAY}#gatewayfirsttokensburnfast",
                    width=12,
                    queries=tuple(
                        Query(expr=f"greenlight:slow_first_tokens:ratio_rate{w} / 0.01", legend=w)
                        for w in ("5m", "1h", "6h")
                    ),
                ),
            ),
        ),
        Row(
            title="Cache and connections",
            panels=(
                Panel(
                    title="What the cache said",
                    about="none: not to be kept (sampling without a seed).",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    queries=(
                        Query(
                            expr="sum by (outcome) (rate(greenlight_gateway_cache_requests_total[$__rate_interval]))",
                            legend="{{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    title="In the cache",
                    about="Hits, misses, stale answers and evictions by level.",
                    unit=Unit.REQUESTS,
                    queries=(
                        Query(
                            expr="sum by (level, outcome) (rate(greenlight_gateway_cache_events_total[$__rate_interval]))",
                            legend="{{level}} {{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    title="Connections to fleets",
                    about="Busy ones, retries, and whether a circuit is open.",
                    unit=Unit.COUNT,
                    runbook=f"{GATEWAY}#gatewaycircuitopen",
                    queries=(
                        Query(
                            expr='sum by (model, kind) (greenlight_gateway_upstream{model=~"$model"})',
                            legend="{{model}} {{kind}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

MODELS = Board(
    uid="model-metrics",
    title="Model Metrics",
    about="The engines: how busy, how fast, blue beside green.",
    variables=(FLEET, MODEL, TENANT),
    rows=(
        Row(
            title="Engines",
            panels=(
                Panel(
                    title="Running and waiting",
                    about="Requests in an engine, by colour.",
                    unit=Unit.COUNT,
                    steps=good_below(8, 32),
                    runbook=f"{DEPLOY}#enginequeuegrows",
                    queries=(
                        Query(
                            expr='sum by (fleet, colour) (vllm:num_requests_running{fleet=~"$fleet"})',
                            legend="{{fleet}} {{colour}} running",
                        ),
                        Query(
                            expr='sum by (fleet, colour) (vllm:num_requests_waiting{fleet=~"$fleet"})',
                            legend="{{fleet}} {{colour}} waiting",
                        ),
                    ),
                ),
                Panel(
                    title="KV cache",
                    about="Taken share; full, requests are put off or computed again.",
                    unit=Unit.PERCENT,
                    steps=good_below(0.8, 0.95),
                    runbook=f"{DEPLOY}#enginekvcachefull",
                    queries=(
                        Query(
                            expr='max by (fleet, host, colour) (vllm:kv_cache_usage_perc{fleet=~"$fleet"})',
                            legend="{{host}} {{colour}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Tokens made",
                    about="A second, by colour.",
                    unit=Unit.TOKENS_S,
                    queries=(
                        Query(
                            expr='sum by (fleet, colour) (rate(vllm:generation_tokens_total{fleet=~"$fleet"}[$__rate_interval]))',
                            legend="{{fleet}} {{colour}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Blue beside green",
            panels=(
                Panel(
                    title="First token, p95",
                    about="By the engines' own clocks.",
                    unit=Unit.SECONDS,
                    queries=(
                        Query(
                            expr='histogram_quantile(0.95, sum by (le, fleet, colour) (rate(vllm:time_to_first_token_seconds_bucket{fleet=~"$fleet"}[$__rate_interval])))',
                            legend="{{fleet}} {{colour}}",
                        ),
                    ),
                ),
                Panel(
                    title="Whole answers, p95",
                    about="From asking an engine to the end of its answer, at the gateway.",
                    unit=Unit.SECONDS,
                    queries=(
                        Query(
                            expr='histogram_quantile(0.95, sum by (le, model, colour) (rate(model_inference_duration_seconds_bucket{model=~"$model"}[$__rate_interval])))',
                            legend="{{model}} {{colour}}",
                        ),
                    ),
                ),
                Panel(
                    title="Share of traffic",
                    about="Answers by colour, at the gateway.",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    queries=(
                        Query(
                            expr='sum by (model, colour) (rate(model_inference_duration_seconds_count{model=~"$model"}[$__rate_interval]))',
                            legend="{{model}} {{colour}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Who asks",
            panels=(
                Panel(
                    title="Tokens by tenant",
                    about="A second; tenants without a series of their own are `other`.",
                    unit=Unit.TOKENS_S,
                    kind=Kind.STACKED,
                    width=12,
                    queries=(
                        Query(
                            expr='sum by (tenant, direction) (rate(greenlight_gateway_tokens_total{model=~"$model",tenant=~"$tenant"}[$__rate_interval]))',
                            legend="{{tenant}} {{direction}}",
                        ),
                    ),
                ),
                Panel(
                    title="Waiting at the gateway",
                    about="Asked of an engine, and not begun to be answered.",
                    unit=Unit.COUNT,
                    width=12,
                    queries=(
                        Query(
                            expr='sum by (model) (model_inference_queue_length{model=~"$model"})',
                            legend="{{model}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

SECURITY = Board(
    uid="security-monitoring",
    title="Security Monitoring",
    about="Who is let in, who is refused and why, what is about to end.",
    rows=(
        Row(
            title="At the door",
            panels=(
                Panel(
                    title="Credentials",
                    about="A kind of credential that opened, or why it was refused.",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    runbook=f"{GATEWAY}#gatewayauthenticationfailures",
                    queries=(
                        Query(
                            expr="sum by (outcome) (rate(greenlight_gateway_authentications_total[$__rate_interval]))",
                            legend="{{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    title="Limits",
                    about="uncounted, unavailable: Redis was away.",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    runbook=f"{GATEWAY}#gatewaylimitsuncounted",
                    queries=(
                        Query(
                            expr="sum by (outcome, limit) (rate(greenlight_gateway_limit_decisions_total[$__rate_interval]))",
                            legend="{{outcome}} {{limit}}",
                        ),
                    ),
                ),
                Panel(
                    title="Refused requests",
                    about="HTTP 4xx by status and route; `none` is a path that isn't served.",
                    unit=Unit.REQUESTS,
                    queries=(
                        Query(
                            expr='sum by (status, endpoint) (rate(http_requests_total{status=~"4..",status!="499"}[$__rate_interval]))',
                            legend="{{status}} {{endpoint}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Keys and certificates",
            panels=(
                Panel(
                    title="Keys",
                    about="Of the gateway, by what they are now.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    queries=(Query(expr="greenlight_api_keys"),),
                ),
                Panel(
                    title="Oldest secret",
                    about="Made so long ago, of those in use.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook=f"{GATEWAY}#apikeytooold",
                    queries=(
                        Query(
                            expr="greenlight_api_key_oldest_secret_timestamp_seconds * 1000",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Next certificate to end",
                    about="Of the edge.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook=f"{GATEWAY}#gatewaycertificateexpires",
                    queries=(
                        Query(
                            expr="min(greenlight_gateway_certificate_expiry_timestamp_seconds) * 1000",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Audit log",
            panels=(
                Panel(
                    title="Records",
                    about="The number of the last one; it only grows.",
                    unit=Unit.COUNT,
                    width=12,
                    queries=(Query(expr="greenlight_audit_records", legend="records"),),
                ),
                Panel(
                    title="Last record",
                    about="When it was chained.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    width=12,
                    queries=(
                        Query(
                            expr="greenlight_audit_last_record_timestamp_seconds * 1000", rare=True
                        ),
                    ),
                ),
            ),
        ),
    ),
)

COSTS = Board(
    uid="cost-analysis",
    title="Cost Analysis",
    about="What the newest hour cost and for whom, how budgets stand, what could be saved.",
    variables=(Variable(name="model", metric="greenlight_cost_model_per_hour"),),
    rows=(
        Row(
            title="Now",
            panels=(
                Panel(
                    title="Cost an hour",
                    about="The newest hour's bill.",
                    unit=Unit.MONEY_HOUR,
                    kind=Kind.NUMBER,
                    width=6,
                    queries=(Query(expr="sum(greenlight_cost_per_hour)"),),
                ),
                Panel(
                    title="Idle",
                    about="The part of that bill in which nothing was served.",
                    unit=Unit.PERCENT,
                    kind=Kind.NUMBER,
                    width=6,
                    steps=good_below(0.3, 0.6),
                    queries=(
                        Query(
                            expr='sum(greenlight_cost_per_hour{part="idle"}) / sum(greenlight_cost_per_hour)'
                        ),
                    ),
                ),
                Panel(
                    title="Advised saving",
                    about="A month, by open and accepted advice, each host once.",
                    unit=Unit.MONEY_HOUR,
                    kind=Kind.NUMBER,
                    width=6,
                    queries=(Query(expr="max(greenlight_cost_advised_saving_per_month)"),),
                ),
                Panel(
                    title="Newest hour with a bill",
                    about="When it began; older than five hours rings.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    width=6,
                    runbook="docs/runbooks/cost.md#costsbehind",
                    queries=(
                        Query(expr="max(greenlight_cost_newest_hour_timestamp_seconds) * 1000"),
                    ),
                ),
            ),
        ),
        Row(
            title="Where it goes",
            panels=(
                Panel(
                    title="Parts of the bill",
                    about="Serving, kept warm, idle, unmeasured, overhead: they add up to it.",
                    unit=Unit.MONEY_HOUR,
                    kind=Kind.STACKED,
                    queries=(Query(expr="greenlight_cost_per_hour", legend="{{part}}"),),
                ),
                Panel(
                    title="Models",
                    about="The workload of each, an hour.",
                    unit=Unit.MONEY_HOUR,
                    kind=Kind.STACKED,
                    queries=(
                        Query(
                            expr='greenlight_cost_model_per_hour{model=~"$model"}',
                            legend="{{model}}",
                        ),
                    ),
                ),
                Panel(
                    title="A million tokens",
                    about="Over the last day, on reservation.",
                    unit=Unit.MONEY_HOUR,
                    queries=(
                        Query(
                            expr='greenlight_cost_per_million_tokens{model=~"$model"}',
                            legend="{{model}} {{version}} {{direction}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Budgets",
            panels=(
                Panel(
                    title="Spent",
                    about="Share of the period's amount, at least.",
                    unit=Unit.PERCENT,
                    steps=good_below(0.8, 1),
                    runbook="docs/runbooks/cost.md#budgets-and-days-that-stand-out",
                    queries=(
                        Query(
                            expr="greenlight_budget_spent / greenlight_budget_amount",
                            legend="{{budget}}",
                        ),
                    ),
                ),
                Panel(
                    title="Expected",
                    about="Share of the amount that will be spent by the period's end.",
                    unit=Unit.PERCENT,
                    steps=good_below(0.95, 1),
                    runbook="docs/runbooks/cost.md#budgets-and-days-that-stand-out",
                    queries=(
                        Query(
                            expr="greenlight_budget_expected / greenlight_budget_amount",
                            legend="{{budget}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Not known",
                    about="Hours of the last three days that are kept aside.",
                    unit=Unit.COUNT,
                    steps=good_below(1, 6),
                    runbook="docs/runbooks/cost.md#costhoursaside",
                    queries=(Query(expr="max(greenlight_cost_hours_aside)", legend="aside"),),
                ),
            ),
        ),
    ),
)

DEPLOYMENTS = Board(
    uid="deployments",
    title="Deployments",
    about="What is live, what is on its way, how rollouts ended.",
    variables=(FLEET,),
    rows=(
        Row(
            title="Live",
            panels=(
                Panel(
                    title="Version",
                    about="By the journal; blue and green change places.",
                    unit=Unit.COUNT,
                    queries=(
                        Query(
                            expr='greenlight_live_version{fleet=~"$fleet"}',
                            legend="{{fleet}} {{colour}}",
                        ),
                    ),
                ),
                Panel(
                    title="Engines",
                    about="1: it answers. Those that should run by the journal; one may rest, or start.",
                    unit=Unit.UP,
                    runbook=f"{DEPLOY}#enginedown",
                    queries=(
                        Query(
                            expr='up{job="engine",fleet=~"$fleet"}',
                            legend="{{fleet}} {{host}} {{colour}}",
                        ),
                    ),
                ),
                Panel(
                    title="Drift",
                    about="Things that are not as they were deployed.",
                    unit=Unit.COUNT,
                    steps=good_below(1, 2),
                    runbook=f"{DEPLOY}#fleetdrift",
                    queries=(
                        Query(
                            expr='max by (fleet) (greenlight_fleet_drift{fleet=~"$fleet"})',
                            legend="{{fleet}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Rollouts",
            panels=(
                Panel(
                    title="How they ended",
                    about="All that ever came to an end.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    queries=(
                        Query(
                            expr='sum by (fleet, outcome) (greenlight_rollouts_total{fleet=~"$fleet"})'
                        ),
                    ),
                ),
                Panel(
                    title="Newest, by outcome",
                    about="When it began.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook=f"{DEPLOY}#rolloutrolledback",
                    queries=(
                        Query(
                            expr='greenlight_rollout_last_timestamp_seconds{fleet=~"$fleet"} * 1000',
                            legend="{{fleet}} {{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    title="On its way since",
                    about="A rollout without an outcome.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook=f"{DEPLOY}#rolloutstuck",
                    queries=(
                        Query(
                            expr='greenlight_rollout_unfinished_since_timestamp_seconds{fleet=~"$fleet"} * 1000',
                            legend="{{fleet}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Router",
            panels=(
                Panel(
                    title="Requests by server",
                    about="What HAProxy sends to each slot.",
                    unit=Unit.REQUESTS,
                    kind=Kind.STACKED,
                    queries=(
                        Query(
                            expr='sum by (fleet, server) (rate(haproxy_server_http_responses_total{fleet=~"$fleet",proxy="engines"}[$__rate_interval]))',
                            legend="{{fleet}} {{server}}",
                        ),
                    ),
                ),
                Panel(
                    title="Open requests by server",
                    about="A drained slot falls to 0 before its engine is stopped.",
                    unit=Unit.COUNT,
                    queries=(
                        Query(
                            expr='haproxy_server_current_sessions{fleet=~"$fleet",proxy="engines"}',
                            legend="{{fleet}} {{server}}",
                        ),
                    ),
                ),
                Panel(
                    title="Servers that take requests",
                    about="0: clients get 503.",
                    unit=Unit.COUNT,
                    steps=good_above(2, 1),
                    runbook=f"{DEPLOY}#routerwithoutengines",
                    queries=(
                        Query(
                            expr='haproxy_backend_active_servers{fleet=~"$fleet",proxy="engines"}',
                            legend="{{fleet}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Schedule",
            panels=(
                Panel(
                    title="Hosts wanted",
                    about="By the applied schedule: minimum, desired, maximum.",
                    unit=Unit.COUNT,
                    queries=(
                        Query(
                            expr='greenlight_schedule_hosts{fleet=~"$fleet"}',
                            legend="{{fleet}} {{bound}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Demand that found enough hosts",
                    about="Yesterday: as planned, and as it was.",
                    unit=Unit.PERCENT,
                    steps=good_above(0.99, 0.97),
                    runbook="docs/runbooks/scaling.md#schedulemissed",
                    queries=(
                        Query(
                            expr='greenlight_schedule_slo_ratio{fleet=~"$fleet"}',
                            legend="{{fleet}} {{kind}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Waits for approval since",
                    about="A schedule whose change is large.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook="docs/runbooks/scaling.md#schedulewaits",
                    queries=(
                        Query(
                            expr='greenlight_schedule_waiting_since_timestamp_seconds{fleet=~"$fleet"} * 1000',
                            legend="{{fleet}}",
                            rare=True,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="People",
            panels=(
                Panel(
                    title="Approvals",
                    about="What people decided about versions.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    width=12,
                    queries=(Query(expr="greenlight_approvals_total"),),
                ),
            ),
        ),
    ),
)

RECOVERY = Board(
    uid="backup-recovery",
    title="Backup & Recovery",
    about="How old the newest verified backup is, and what the last drill proved.",
    variables=(REGION,),
    rows=(
        Row(
            title="Backups",
            panels=(
                Panel(
                    title="Age of the newest verified set",
                    about="That of its restore point. What came later is only in the log.",
                    unit=Unit.SECONDS,
                    steps=good_below(93600, 180000),
                    runbook=f"{BACKUP}#backuptooold",
                    queries=(
                        Query(
                            expr='time() - max by (region) (greenlight_backup_last_verified_timestamp_seconds{region=~"$region"})',
                            legend="{{region}}",
                        ),
                    ),
                ),
                Panel(
                    title="Sets",
                    about="What each region keeps; `true` was read back whole.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    runbook=f"{BACKUP}#backupneververified",
                    queries=(Query(expr='greenlight_backup_sets{region=~"$region"}'),),
                ),
                Panel(
                    title="Log that waits",
                    about="How long the oldest unarchived piece waits: that much could be lost.",
                    unit=Unit.SECONDS,
                    steps=good_below(300, 900),
                    runbook=f"{BACKUP}#backuparchivebehind",
                    queries=(
                        Query(expr="max(greenlight_backup_archive_lag_seconds)", legend="lag"),
                    ),
                ),
                Panel(
                    title="Newest set added",
                    about="By part.",
                    unit=Unit.BYTES,
                    kind=Kind.STACKED,
                    width=12,
                    queries=(
                        Query(
                            expr='greenlight_backup_bytes{region=~"$region"}',
                            legend="{{region}} {{part}}",
                        ),
                    ),
                ),
                Panel(
                    title="Duration of the last run",
                    about="All regions, read back.",
                    unit=Unit.SECONDS,
                    width=12,
                    queries=(Query(expr="max(greenlight_backup_duration_seconds)", legend="run"),),
                ),
            ),
        ),
        Row(
            title="Drills",
            panels=(
                Panel(
                    title="Last passed drill",
                    about="When it began, by region.",
                    unit=Unit.AGO,
                    kind=Kind.NUMBER,
                    runbook=f"{BACKUP}#restoredrillmissing",
                    queries=(
                        Query(
                            expr='max by (region) (greenlight_restore_drill_last_passed_timestamp_seconds{region=~"$region"}) * 1000',
                            legend="{{region}}",
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Recovery time and data at risk",
                    about="RTO and RPO of the last drill, and what backup.yaml asks for.",
                    unit=Unit.SECONDS,
                    runbook=f"{BACKUP}#restoredrillslow",
                    queries=(
                        Query(
                            expr='greenlight_restore_drill_rto_seconds{region=~"$region"}',
                            legend="RTO {{region}}",
                            rare=True,
                        ),
                        Query(
                            expr='greenlight_restore_drill_rpo_seconds{region=~"$region"}',
                            legend="RPO {{region}}",
                            rare=True,
                        ),
                        Query(
                            expr='greenlight_backup_target_seconds{target=~"rto|rpo"}',
                            legend="target {{target}}",
                        ),
                    ),
                ),
                Panel(
                    title="Rungs of the last drill",
                    about="1 passed, 0 failed, -1 proved nothing.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    runbook=f"{BACKUP}#restoredrillfailed",
                    queries=(
                        Query(
                            expr='greenlight_restore_drill_rung_result{region=~"$region"}',
                            rare=True,
                        ),
                    ),
                ),
                Panel(
                    title="Planted faults",
                    about="1 was noticed, 0 was not, -1 could not be planted.",
                    unit=Unit.COUNT,
                    kind=Kind.TABLE,
                    runbook=f"{BACKUP}#backupfaultnotdetected",
                    width=12,
                    queries=(Query(expr="greenlight_backup_fault_detected", rare=True),),
                ),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, APPLICATION, MODELS, COSTS, SECURITY, DEPLOYMENTS, RECOVERY)
