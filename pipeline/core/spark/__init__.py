"""Spark: its address, a session, and its errors as one line; requires ``pip install 'paretoscope[spark]'`` and Java."""
