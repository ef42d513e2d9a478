"""The embedded stack: PostgreSQL, MLflow, Airflow and S3 stores, on loopback of this machine."""
