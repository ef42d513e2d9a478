"""Names and labels of every metric Greenlight exposes, in one place.

Names follow Prometheus' conventions: base units, `_total` for counters. A label's values come from
a closed set, or are bounded by the number of models registered.
"""

from __future__ import annotations

from enum import StrEnum


class MetricName(StrEnum):
    """Prometheus metric names."""

    JOB_SECONDS = "greenlight_ml_job_duration_seconds"
    JOB_PEAK_RSS = "greenlight_ml_job_peak_rss_bytes"
    JOB_PROGRESS = "greenlight_ml_job_progress_ratio"
    GATE_RESULTS = "greenlight_gate_results_total"
    APPROVALS = "greenlight_approvals_total"
    EXPORTER_UP = "greenlight_exporter_up"
    ROLLOUTS = "greenlight_rollouts_total"
    ROLLOUT_LAST = "greenlight_rollout_last_timestamp_seconds"
    ROLLOUT_UNFINISHED = "greenlight_rollout_unfinished_since_timestamp_seconds"
    LIVE_VERSION = "greenlight_live_version"
    API_KEYS = "greenlight_api_keys"
    API_KEY_OLDEST = "greenlight_api_key_oldest_secret_timestamp_seconds"
    API_KEY_NEXT_EXPIRY = "greenlight_api_key_next_expiry_timestamp_seconds"
    AUDIT_RECORDS = "greenlight_audit_records"
    AUDIT_LAST = "greenlight_audit_last_record_timestamp_seconds"
    FLEET_DRIFT = "greenlight_fleet_drift"
    BACKUP_REGION_UP = "greenlight_backup_region_up"
    BACKUP_LAST_VERIFIED = "greenlight_backup_last_verified_timestamp_seconds"
    BACKUP_NEWEST_POINT = "greenlight_backup_newest_point_timestamp_seconds"
    BACKUP_SETS = "greenlight_backup_sets"
    BACKUP_BYTES = "greenlight_backup_bytes"
    BACKUP_FLOOR_REACHED = "greenlight_backup_retention_floor_reached"
    BACKUP_LAST_SUCCESS = "greenlight_backup_last_success_timestamp_seconds"
    BACKUP_SECONDS = "greenlight_backup_duration_seconds"
    BACKUP_ARCHIVE_LAG = "greenlight_backup_archive_lag_seconds"
    BACKUP_ARCHIVE_SEEN = "greenlight_backup_archive_seen_timestamp_seconds"
    BACKUP_TARGET = "greenlight_backup_target_seconds"
    BACKUP_FAULT_DETECTED = "greenlight_backup_fault_detected"
    BACKUP_FAULTS_TRIED = "greenlight_backup_faults_tried_timestamp_seconds"
    DRILL_LAST_PASSED = "greenlight_restore_drill_last_passed_timestamp_seconds"
    DRILL_RTO = "greenlight_restore_drill_rto_seconds"
    DRILL_RPO = "greenlight_restore_drill_rpo_seconds"
    DRILL_RUNG_RESULT = "greenlight_restore_drill_rung_result"
    HTTP_REQUESTS = "http_requests_total"
    HTTP_SECONDS = "http_request_duration_seconds"
    HTTP_ACTIVE = "http_active_requests"
    INFERENCE_SECONDS = "model_inference_duration_seconds"
    INFERENCE_QUEUE = "model_inference_queue_length"
    GATEWAY_FIRST_TOKEN = "greenlight_gateway_time_to_first_token_seconds"  # noqa: S105 - a name
    GATEWAY_TOKEN_GAP = "greenlight_gateway_inter_token_seconds"  # noqa: S105 - a name
    GATEWAY_TOKENS = "greenlight_gateway_tokens_total"
    GATEWAY_CACHE = "greenlight_gateway_cache_requests_total"
    GATEWAY_CACHE_EVENTS = "greenlight_gateway_cache_events_total"
    GATEWAY_LIMITS = "greenlight_gateway_limit_decisions_total"
    GATEWAY_AUTH = "greenlight_gateway_authentications_total"
    GATEWAY_CUT = "greenlight_gateway_streams_cut_total"
    GATEWAY_CERTIFICATE = "greenlight_gateway_certificate_expiry_timestamp_seconds"
    GATEWAY_UPSTREAM = "greenlight_gateway_upstream"


class ForeignMetric(StrEnum):
    """What others expose and our alerts and dashboards ask for."""

    UP = "up"
    ALERTS = "ALERTS"
    ROUTER_SERVERS = "haproxy_backend_active_servers"
    ROUTER_RESPONSES = "haproxy_server_http_responses_total"
    ROUTER_SESSIONS = "haproxy_server_current_sessions"
    ENGINE_RUNNING = "vllm:num_requests_running"
    ENGINE_FIRST_TOKEN = "vllm:time_to_first_token_seconds"  # noqa: S105 - a name
    ENGINE_TOKENS = "vllm:generation_tokens_total"
    ENGINE_WAITING = "vllm:num_requests_waiting"
    ENGINE_KV_CACHE = "vllm:kv_cache_usage_perc"
    ENGINE_KV_CACHE_BEFORE = "vllm:gpu_cache_usage_perc"
    """Its name in vLLM 0.9 and before."""
    GPU_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
    GPU_MEMORY_USED = "DCGM_FI_DEV_FB_USED"
    GPU_MEMORY_FREE = "DCGM_FI_DEV_FB_FREE"
    GPU_ERRORS = "DCGM_FI_DEV_XID_ERRORS"
    CPU_SECONDS = "node_cpu_seconds_total"
    DISK_FREE = "node_filesystem_avail_bytes"
    DISK_SIZE = "node_filesystem_size_bytes"
    MEMORY_AVAILABLE = "node_memory_MemAvailable_bytes"
    MEMORY_TOTAL = "node_memory_MemTotal_bytes"
    CLOCK_OFFSET = "node_timex_offset_seconds"


class LabelName(StrEnum):
    """Prometheus label names."""

    JOB = "job_name"
    STAGE = "stage"
    MODEL = "model"
    GATE = "gate"
    VERDICT = "verdict"
    DECISION = "decision"
    FLEET = "fleet"
    REGION = "region"
    PART = "part"
    VERIFIED = "verified"
    TARGET = "target"
    RUNG = "rung"
    FAULT = "fault"
    METHOD = "method"
    ENDPOINT = "endpoint"
    STATUS = "status"
    COLOUR = "colour"
    TENANT = "tenant"
    DIRECTION = "direction"
    OUTCOME = "outcome"
    LIMIT = "limit"
    LEVEL = "level"
    KIND = "kind"
    STATE = "state"
