"""The rooms of ``peers.py``: logs, runs, programs, ranks and the page."""
