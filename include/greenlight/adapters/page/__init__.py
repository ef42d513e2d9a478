"""The Greenlight page inside Airflow: what its panels say, and how that is shown."""
