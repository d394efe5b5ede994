"""This computer: its files, and where its servers are.

disk          writes files whole or not at all; says so if the disk is full
extras        which extra of pyproject.toml brings a package that is missing
polling       looks until something has happened, for a limited time
private       files and folders that only this user may use
servers       where MLflow and Prefect are, and what `make up` left behind
wrong_server  what answers where one of our servers should
"""
