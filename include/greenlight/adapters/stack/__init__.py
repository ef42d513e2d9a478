"""The embedded stack: PostgreSQL, MLflow and Airflow as processes of this machine, on loopback."""
