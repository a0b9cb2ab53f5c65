"""The online experiment: assignment, plan, log, database and KPIs."""
