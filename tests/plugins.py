"""A package with entry points, as an installer would leave it in a folder of ``sys.path``."""

from pathlib import Path
from textwrap import dedent


def install_plugin(folder: Path, module: str, source: str, **entry_points: dict[str, str]) -> None:
    """Write a module and its distribution's metadata.

    Args:
        folder: A folder on ``sys.path``.
        module: Name of the module and of its distribution.
        source: Code of the module.
        **entry_points: Values by name, of each group without its prefix ``paretoscope.``.
    """
    (folder / f"{module}.py").write_text(dedent(source), encoding="utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8"
    )
    lines: list[str] = []
    for group, points in entry_points.items():
        lines.append(f"[paretoscope.{group}]")
        lines += [f"{name} = {value}" for name, value in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
