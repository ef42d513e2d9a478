import pytest

from greenlight.core.traces import (
    TraceContext,
    Untraced,
    current_trace,
    new_trace,
    read_state,
    read_trace,
    trace_headers,
    trace_of,
    within,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_header_is_read_and_written_as_it_was():
    found = read_trace(HEADER)
    assert found == TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True)
    assert found.traceparent == HEADER
    assert read_trace(f"00-{TRACE}-{SPAN}-00").traceparent.endswith("-00")


def test_flags_that_version_00_does_not_know_are_not_passed_on():
    assert read_trace(f"00-{TRACE}-{SPAN}-ff").traceparent.endswith("-01")
    assert read_trace(f"00-{TRACE}-{SPAN}-fe").traceparent.endswith("-00")


def test_a_later_version_is_read_by_its_first_fields_and_answered_in_version_00():
    assert read_trace(f"01-{TRACE}-{SPAN}-01-what.comes.later").traceparent == HEADER
    assert read_trace(f"cc-{TRACE}-{SPAN}-01").traceparent == HEADER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f" {HEADER}",
        f"{HEADER}\n",
        f"{HEADER},{HEADER}",
        "00-" + "g" * 32 + f"-{SPAN}-01",
        "x" * 100_000,
    ],
)
def test_what_breaks_the_format_is_no_trace(header):
    assert read_trace(header) is None


def test_a_state_goes_on_with_its_trace():
    found = read_trace(HEADER, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE,,fw529a3039@dt=x")
    assert found.state == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,fw529a3039@dt=x"
    assert found.headers() == {"traceparent": HEADER, "tracestate": found.state}


@pytest.mark.parametrize(
    "state",
    [
        "a=" + "x" * 511,
        ",".join(f"k{n}=1" for n in range(33)),
        "a=1,a=2",
        "A=1",
        "a",
        "a=1=2",
        "a=\x7f",
        "a=1\r\nX-Evil: 1",
        "ü=1",
    ],
)
def test_a_state_beyond_its_limits_is_dropped_whole(state):
    assert read_state(state) == ""
    assert read_trace(HEADER, state).headers() == {"traceparent": HEADER}


def test_a_state_within_its_limits_is_kept():
    longest = ",".join(f"k{n}=1" for n in range(32))
    assert read_state(longest) == longest
    assert read_state("a=" + "x" * 256)


def test_something_with_a_name_has_one_trace_in_every_process():
    assert trace_of("rollout", "a") == trace_of("rollout", "a")
    assert trace_of("rollout", "a").trace_id != trace_of("rollout", "b").trace_id
    assert read_trace(trace_of("rollout", "a").traceparent) == trace_of("rollout", "a")


def test_what_is_sent_inside_a_trace_carries_it():
    trace = new_trace()
    assert trace_headers() == {}
    with within(trace):
        assert current_trace() == trace
        assert trace_headers() == {"traceparent": trace.traceparent}
    assert current_trace() is None


def test_untraced_a_callers_place_goes_on_unchanged_and_a_stranger_gets_a_new_one():
    tracer, caller = Untraced(), read_trace(HEADER)
    assert tracer.begin("x", parent=caller).context == caller
    made = {tracer.begin("x", parent=None).context.trace_id for _ in range(100)}
    assert len(made) == 100
    assert all(read_trace(f"00-{one}-{SPAN}-01") for one in made)
