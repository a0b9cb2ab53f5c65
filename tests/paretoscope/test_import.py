"""``import paretoscope`` is fast, complete, and finds its own packages."""

import subprocess
import sys

import pytest

import paretoscope as ps


def run(code: str, folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_is_fast_and_loads_nothing_heavy(tmp_path):
    done = run(
        "import sys, time\n"
        "started = time.perf_counter()\n"
        "import paretoscope\n"
        "seconds = time.perf_counter() - started\n"
        "assert seconds < 0.3, seconds\n"
        "assert not {'torch', 'polars', 'pipeline', 'dagster'} & set(sys.modules)\n",
        tmp_path,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["models", "pipeline", "assets"])
@pytest.mark.parametrize("kind", ["folder", "package", "module"])
def test_a_users_package_of_the_same_name_is_one_clear_error(tmp_path, package, kind):
    if kind == "module":
        own = tmp_path / f"{package}.py"
        own.write_text("", encoding="utf-8")
    else:
        own = tmp_path / package
        own.mkdir()
        if kind == "package":
            (own / "__init__.py").write_text("", encoding="utf-8")

    done = run("import paretoscope", tmp_path)

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {own} hides Paretoscope's package {package!r} in ")
    assert last.endswith("rename yours, or start Python in another folder")


def test_every_public_name_can_be_imported():
    assert {name for name in ps.__all__ if getattr(ps, name).__doc__ is None} == set()
    assert set(ps.__all__) <= set(dir(ps))
    with pytest.raises(AttributeError, match="no attribute 'Stduy'; it has Comparison"):
        getattr(ps, "Stduy")  # noqa: B009 - pyright knows there is none
