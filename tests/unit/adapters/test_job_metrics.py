import time

from greenlight.adapters.job_metrics import JobMetrics, newest_progress
from greenlight.quantize.jobs import Job, Progress, Usage


def test_a_reader_finds_what_the_job_reported_last(tmp_path):
    metrics = JobMetrics(folder=tmp_path, job=Job.QUANTIZE)
    metrics.progress(Progress(stage="quantize", done=3, total=30))
    assert newest_progress(tmp_path, since=0) == ("quantize", "quantize", 0.1)


def test_reports_are_throttled_but_the_end_of_a_stage_never_is(tmp_path):
    metrics = JobMetrics(folder=tmp_path, job=Job.EVALUATE)
    for done in range(1, 11):
        metrics.progress(Progress(stage="choices", done=done, total=10))
    assert newest_progress(tmp_path, since=0) == ("evaluate", "choices", 1.0)


def test_reports_of_an_earlier_run_do_not_count(tmp_path):
    JobMetrics(folder=tmp_path, job=Job.EVALUATE).progress(Progress(stage="x", done=1, total=1))
    assert newest_progress(tmp_path, since=time.time() + 10) is None


def test_what_a_job_took_is_there_for_the_node_exporter(tmp_path):
    usage = Usage(seconds=2.5, cpu_seconds=4.0, peak_rss_bytes=1000)
    JobMetrics(folder=tmp_path, job=Job.QUANTIZE).usage(usage)
    text = (tmp_path / "quantize-usage.prom").read_text()
    assert 'greenlight_ml_job_duration_seconds{job_name="quantize"} 2.5' in text
    assert 'greenlight_ml_job_peak_rss_bytes{job_name="quantize"} 1000.0' in text
