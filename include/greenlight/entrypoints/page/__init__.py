"""The Greenlight page: what it reads, what a person can do on it, and how it is served.

Airflow itself is imported by `plugins/greenlight_page.py` only, which hands in who may do what and
how a run is started.
"""
