"""Change the keys of params.yaml that a page changes: merge.py params.yaml block.yaml."""

import sys
from pathlib import Path

import yaml


def merged(values: dict, changes: dict) -> dict:
    """The values with the changes in them; what is no section of keys replaces what was there."""
    return values | {
        key: merged(values[key], change)
        if isinstance(change, dict) and isinstance(values.get(key), dict)
        else change
        for key, change in changes.items()
    }


if __name__ == "__main__":
    params, block = (Path(name) for name in sys.argv[1:])
    values, changes = (yaml.safe_load(file.read_text("utf-8")) for file in (params, block))
    params.write_text(yaml.safe_dump(merged(values, changes), sort_keys=False), encoding="utf-8")
