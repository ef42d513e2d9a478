"""What the saved databases must do. Subclass it and give it a fixture `databases`."""

from __future__ import annotations

from greenlight.backup.ports import Databases


class DatabasesContract:
    """The fixture's databases are healthy and archive, and nobody else writes to them."""

    def test_sentinels_are_kept_oldest_first(self, databases: Databases) -> None:
        """Each one is later than the one before, and none is lost."""
        before = databases.sentinels()
        first, second = databases.mark_time(), databases.mark_time()
        assert databases.sentinels() == (*before, first, second)
        assert first.number < second.number
        assert first.at < second.at

    def test_a_point_tells_what_the_databases_say(self, databases: Databases) -> None:
        """Nobody writes, so what was frozen is still what is read."""
        databases.mark_time()
        catalogue = databases.freeze("contract")
        assert catalogue.point.name == "contract"
        assert catalogue.versions == databases.catalogue()
        assert catalogue.runs == databases.runs()
        assert catalogue.rows == databases.rows()
        assert catalogue.rows["greenlight.public.sentinels"] == len(databases.sentinels())

    def test_a_point_lies_between_the_sentinels_around_it(self, databases: Databases) -> None:
        """Both times are the server's."""
        before = databases.mark_time()
        at = databases.freeze("between").point.at
        assert before.at < at < databases.mark_time().at

    def test_a_point_is_archived_when_the_wait_ends(self, databases: Databases) -> None:
        """So is what was committed after it, when everything is waited for."""
        point = databases.freeze("archived").point
        databases.wait_archived(point.lsn, at_most_s=60)
        databases.mark_time()
        databases.wait_archived(at_most_s=60)
        assert databases.archiving().archived_at is not None
        assert databases.archiving().lag_s == 0

    def test_healthy_databases_have_no_damage(self, databases: Databases) -> None:
        """A check that always finds something is no check."""
        assert databases.damage() == ()
