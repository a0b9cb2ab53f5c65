"""Rules for single rows of the log, and the words for a row that breaks one."""
