"""Measurements, each paired with its alternative; `python -m bench` prints all."""
