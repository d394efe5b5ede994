"""Bring servers to the described state, and run embedded servers for one machine."""
