"""Experiments that try to break pysr: hostile files, kills, faults of the system, and so on.

``make torture`` runs all of them at length and prints one table; `tests/test_torture.py` runs each for a moment.
"""
