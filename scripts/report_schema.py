"""Write docs/report.schema.json from the declared types: ``python scripts/report_schema.py``."""

import json
from pathlib import Path

from pipeline.results.stored import report_schema

SCHEMA = Path(__file__).parents[1] / "docs" / "report.schema.json"

if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(report_schema(), indent=2) + "\n", encoding="utf-8")
