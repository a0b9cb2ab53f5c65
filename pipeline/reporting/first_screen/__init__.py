"""The first screen of a report: verdicts, what to ship and what it costs, on shared axes."""
