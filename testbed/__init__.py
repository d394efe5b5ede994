"""Real servers, and models to put on them: for tests, benchmarks and screenshots.

servers   MLflow, Prefect and PostgreSQL on free ports, for as long as a `with` block lasts
runs      runs in MLflow that hold model files, without a training
reports   health reports that say what is wanted, without a measurement
tiny      a scenario that trains in seconds
commands  commands of ours, each in a Python of its own
browser   Chromium on the user interfaces of Prefect and MLflow

It knows nothing of `tests/` and `benchmarks/`, which both use it.
"""
