"""Live monitoring: follows the endpoint's log, keeps per-user sums, and raises alerts."""
