"""What every `EventQueue` must do: subclass it and give it the fixtures `queue` and `send`."""

from __future__ import annotations

from collections.abc import Callable

from greenlight.cost.spot.host_events import EventQueue


class EventQueueContract:
    """Run by pytest through subclasses."""

    def test_what_was_sent_arrives_as_it_was(
        self, queue: EventQueue, send: Callable[[str], None]
    ) -> None:
        """Whatever it is."""
        send('{"a": "ü"}')
        (message,) = queue.receive(hide=True)
        assert message.body == '{"a": "ü"}'

    def test_nobody_else_gets_what_is_hidden(
        self, queue: EventQueue, send: Callable[[str], None]
    ) -> None:
        """Two workers don't do the same at once."""
        send("x")
        assert queue.receive(hide=True)
        assert queue.receive(hide=True) == ()

    def test_looking_hides_nothing(self, queue: EventQueue, send: Callable[[str], None]) -> None:
        """A dry run takes nothing away from the worker."""
        send("x")
        assert queue.receive(hide=False)
        assert queue.receive(hide=True)

    def test_more_than_a_page_arrives_at_once(
        self, queue: EventQueue, send: Callable[[str], None]
    ) -> None:
        """A region takes many hosts back at the same moment."""
        for number in range(25):
            send(str(number))
        assert {m.body for m in queue.receive(hide=True)} == {str(n) for n in range(25)}

    def test_what_is_deleted_never_comes_again_and_can_be_deleted_twice(
        self, queue: EventQueue, send: Callable[[str], None]
    ) -> None:
        """A worker that was killed may do it again."""
        send("x")
        (message,) = queue.receive(hide=False)
        queue.delete(message.receipt)
        queue.delete(message.receipt)
        queue.keep(message.receipt)
        assert queue.receive(hide=False) == ()
