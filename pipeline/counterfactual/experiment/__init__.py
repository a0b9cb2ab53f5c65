"""The experiment as its own logging policy: every group, and policies that were not served."""
