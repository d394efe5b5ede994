"""This computer: its files, and where its servers are.

disk          files that are there whole or not at all; a full disk is said so
extras        what an extra of pyproject.toml installs, and what is said without it
polling       looks until something has happened, for a limited time
private       files and folders of this user alone
servers       where MLflow and Prefect are, and what `make up` left behind
wrong_server  what answers where one of our servers should
"""
