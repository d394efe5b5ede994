"""This computer: its files, and where its servers are.

disk          writes files whole or not at all; says so if the disk is full
extras        which extra of pyproject.toml brings a package that is missing
polling       looks until something has happened, for a limited time
private       files and folders that only this user may use
servers       where MLflow and Prefect are, and what `make up` left behind
supervision   runs a program of other people: its own process group, limits, its words live
  supervised  what leads that group, and ends it when we are gone
wrong_server  what answers where one of our servers should
"""
