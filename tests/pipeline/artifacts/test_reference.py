"""A study is compared with the md5s pinned in git; model outputs within a tolerance."""

import subprocess
from shutil import copyfile

import polars as pl
import pytest
import yaml

from pipeline.artifacts.reference import (
    DATA_FILES,
    MODEL_FILES,
    reference_folder,
    update_reference,
    verify,
)
from pipeline.artifacts.storage import StudyPaths, md5, read_json, write_json
from pipeline.core.errors import MissingArtifact
from pipeline.study import parse_study

RAW = "data/raw/log.jsonl"
STUDY = "data/studies/shop"
SHOP = parse_study(
    {
        "study": {"name": "shop"},
        "dataset": {"format": "otto", "path": RAW},
        "experiment": {"source": "held-out-replay"},
    }
)
METRICS, FRONT, KPIS, ESTIMATES = MODEL_FILES


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)


def write_study(paths):
    """A finished study of two preferences and two groups."""
    tables = {
        METRICS: {
            "preference_id": ["p00", "p01", "p00", "p01", "p00"],
            "metric": ["recall", "recall", "mrr", "order_density", "click_loss"],
            "segment": ["all"] * 5,
            "value": [0.40, 0.50, None, 0.0, 6.0],
        },
        FRONT: {
            "preference_id": ["p00", "p01"],
            "recall": [0.40, 0.50],
            "order_density": [0.07, 0.06],
        },
        KPIS: {
            "group": ["g1", "g2", "g1"],
            "kpi": ["ctr", "ctr", "cvr"],
            "rate": [0.10, 0.12, None],
            # 10% of 0.10 are 4 standard errors of the difference of two such rates
            "standard_error": [0.01 / (4 * 2**0.5), 0.01, None],
        },
    }
    for file, columns in tables.items():
        (paths.folder / file).parent.mkdir(parents=True)
        pl.DataFrame(columns).write_parquet(paths.folder / file)
    (paths.folder / ESTIMATES).parent.mkdir()
    write_json(paths.folder / ESTIMATES, [estimate("H1", 0.8, 1.2), estimate("H2")])
    for file in DATA_FILES:
        (paths.folder / file).parent.mkdir(exist_ok=True)
        (paths.folder / file).write_bytes(file.encode())


def estimate(name, *interval):
    """The estimate of a hypothesis; undefined without an interval."""
    if not interval:
        return {"id": name, "slope": None, "cluster_robust": None}
    return {"id": name, "slope": sum(interval) / 2, "cluster_robust": {"interval": list(interval)}}


def pin(root, *names):
    """Pin files in dvc.lock, as DVC writes it, and commit it."""
    outs = [{"path": name, "hash": "md5", "md5": md5(root / name)} for name in names]
    stages = {"raw_events": {"outs": outs[:1]}, "study": {"deps": outs[:1], "outs": outs[1:]}}
    lock = yaml.safe_dump({"schema": "2.0", "stages": stages})
    (root / "dvc.lock").write_text(lock, encoding="utf-8")
    git(root, "add", "dvc.lock")
    git(root, "commit", "--quiet", "--message", "pins")


@pytest.fixture
def paths(tmp_path):
    """A clone with a finished, pinned study and its reference results."""
    found = StudyPaths(root=tmp_path, name="shop")
    (tmp_path / RAW).parent.mkdir(parents=True)
    (tmp_path / RAW).write_bytes(b"one session\n")
    write_study(found)
    update_reference(SHOP, found)
    git(tmp_path, "init", "--quiet")
    pin(tmp_path, RAW, *(f"{STUDY}/{file}" for file in (*DATA_FILES, *MODEL_FILES)))
    return found


def change(paths, file, column, factor, *, row=0):
    """Multiply one value of a table."""
    table = pl.read_parquet(paths.folder / file)
    values = table[column].to_list()
    values[row] *= factor
    table.with_columns(pl.Series(column, values)).write_parquet(paths.folder / file)


def test_identical_files_pass(paths):
    found = verify(SHOP, paths)

    assert found.passed
    assert found.identical == (RAW, *(f"{STUDY}/{file}" for file in (*DATA_FILES, *MODEL_FILES)))
    assert (found.different, found.within_tolerance, found.out_of_tolerance) == ((), (), ())


@pytest.mark.parametrize("name", [RAW, *(f"{STUDY}/{file}" for file in DATA_FILES)])
def test_different_data_fails(paths, name):
    (paths.root / name).write_bytes(b"other\n")

    found = verify(SHOP, paths)

    assert not found.passed
    assert (found.different, found.within_tolerance, found.out_of_tolerance) == ((name,), (), ())


@pytest.mark.parametrize(
    ("file", "column", "message"),
    [
        (METRICS, "value", "p00/recall: value 0.52, reference 0.4"),
        (FRONT, "recall", "p00: recall 0.52, reference 0.4"),
        (KPIS, "rate", "g1/ctr: rate 0.13, reference 0.1"),
    ],
    ids=["metrics", "front", "kpis"],
)
def test_model_outputs_pass_within_their_tolerance(paths, file, column, message):
    original = paths.folder / file
    copyfile(original, paths.root / "original")
    verdicts = {}

    for percent in (-30, -11, -9, 5, 9, 11, 30):
        copyfile(paths.root / "original", original)
        change(paths, file, column, 1 + percent / 100)
        verdicts[percent] = verify(SHOP, paths)

    for percent, found in verdicts.items():
        assert found.passed == (abs(percent) < 10)
        assert found.within_tolerance == ((f"{STUDY}/{file}",) if found.passed else ())
        assert found.different == ()
    assert verdicts[30].out_of_tolerance[0] == message


def test_order_density_of_the_front_is_compared(paths):
    change(paths, FRONT, "order_density", 1.3, row=1)

    (line,) = verify(SHOP, paths).out_of_tolerance

    assert line.startswith("p01: order_density 0.078")


def test_losses_are_not_compared(paths):
    change(paths, METRICS, "value", 2, row=4)

    assert verify(SHOP, paths).within_tolerance == (f"{STUDY}/{METRICS}",)


@pytest.mark.parametrize("reference", [0.0, None], ids=["zero", "undefined"])
def test_a_value_whose_reference_is_zero_or_undefined_is_out_of_tolerance(paths, reference):
    table = pl.read_parquet(paths.folder / METRICS)
    row = table["value"].to_list().index(reference)
    values = [0.2 if n == row else value for n, value in enumerate(table["value"])]
    table.with_columns(value=pl.Series(values)).write_parquet(paths.folder / METRICS)

    (line,) = verify(SHOP, paths).out_of_tolerance

    assert (
        line
        == f"{'p01/order_density' if reference == 0 else 'p00/mrr'}: value 0.2, reference {reference}"
    )


@pytest.mark.parametrize(
    ("ours", "missing"),
    [
        (lambda table: table[1:], "p00/recall: value None, reference 0.4"),
        (
            lambda table: table.vstack(
                table[:1].with_columns(preference_id=pl.lit("p02"), value=pl.lit(0.3))
            ),
            "p02/recall: value 0.3, reference None",
        ),
    ],
    ids=["row-removed", "row-added"],
)
def test_a_row_in_only_one_of_the_tables_is_out_of_tolerance(paths, ours, missing):
    table = pl.read_parquet(paths.folder / METRICS)

    ours(table).write_parquet(paths.folder / METRICS)

    assert verify(SHOP, paths).out_of_tolerance == (missing,)


@pytest.mark.parametrize(
    ("estimates", "messages"),
    [
        ([estimate("H1", 1.1, 1.5), estimate("H2")], ()),
        ([estimate("H1", 1.2, 1.6), estimate("H2")], ()),
        (
            [estimate("H1", 1.3, 1.7), estimate("H2")],
            ("H1: 1.300 to 1.700, reference 0.800 to 1.200",),
        ),
        (
            [estimate("H1", 0.3, 0.7), estimate("H2")],
            ("H1: 0.300 to 0.700, reference 0.800 to 1.200",),
        ),
        ([estimate("H1"), estimate("H2")], ("H1: estimated in one of the two studies only",)),
        (
            [estimate("H1", 0.8, 1.3), estimate("H2", 0, 1)],
            ("H2: estimated in one of the two studies only",),
        ),
        ([estimate("H2")], ("H1: estimated in one of the two studies only",)),
    ],
    ids=["overlap", "touch", "above", "below", "undefined", "newly-estimated", "dropped"],
)
def test_slopes_are_compared_by_whether_their_intervals_overlap(paths, estimates, messages):
    write_json(paths.folder / ESTIMATES, estimates)

    found = verify(SHOP, paths)

    assert found.out_of_tolerance == messages
    assert found.passed == (not messages)


def test_only_the_committed_lock_counts(paths):
    (paths.folder / DATA_FILES[0]).write_bytes(b"other\n")
    lock = paths.root / "dvc.lock"
    lock.write_text(lock.read_text("utf-8").replace(md5(paths.root / RAW), "0" * 32), "utf-8")
    git(paths.root, "add", "dvc.lock")

    assert verify(SHOP, paths).different == (f"{STUDY}/{DATA_FILES[0]}",)


def test_a_missing_output_is_named_with_the_command_that_creates_it(paths):
    (paths.folder / METRICS).unlink()

    with pytest.raises(
        MissingArtifact, match=r"offline_metrics\.parquet is missing.* paretoscope study"
    ):
        verify(SHOP, paths)


def test_a_committed_lock_is_required(paths):
    git(paths.root, "rm", "--quiet", "--cached", "dvc.lock")
    git(paths.root, "commit", "--quiet", "--message", "no pins")

    with pytest.raises(MissingArtifact, match=r"no committed dvc\.lock .* git init"):
        verify(SHOP, paths)


def test_an_unpinned_file_is_named_with_the_command_that_pins_it(paths):
    pin(paths.root, RAW)

    with pytest.raises(MissingArtifact, match=r"sessions\.parquet is not pinned .* 'dvc repro'"):
        verify(SHOP, paths)


def test_a_table_that_differs_requires_a_reference(paths):
    (reference_folder(paths) / "group_kpis.parquet").unlink()
    assert verify(SHOP, paths).passed  # identical to the pin: no comparison needed

    change(paths, KPIS, "rate", 1.01)

    with pytest.raises(
        MissingArtifact, match=r"group_kpis\.parquet is missing: .*paretoscope update-reference"
    ):
        verify(SHOP, paths)


def test_update_reference_copies_the_model_outputs(paths):
    write_json(paths.folder / ESTIMATES, [estimate("H1", 2, 3)])

    folder = update_reference(SHOP, paths)

    assert folder == paths.root / "data/reference/shop"
    assert {file.name: md5(file) for file in folder.iterdir()} == {
        file.split("/")[1]: md5(paths.folder / file) for file in MODEL_FILES
    }
    assert read_json(folder / "regression_estimates.json") == [estimate("H1", 2, 3)]


def test_update_reference_requires_a_finished_study(paths):
    (paths.folder / KPIS).unlink()

    with pytest.raises(MissingArtifact, match="dagster asset materialize --select group_kpis"):
        update_reference(SHOP, paths)


def test_a_collapsed_front_fails_although_every_point_is_within_tolerance(paths):
    before = pl.read_parquet(paths.folder / FRONT)
    flat = before.with_columns(recall=pl.Series([0.43, 0.46]))
    flat.write_parquet(paths.folder / FRONT)

    found = verify(SHOP, paths)

    # 0.46 / 0.43 - 1 = 7.0%, reference 0.50 / 0.40 - 1 = 25%
    assert found.out_of_tolerance == ("the front spans 7.0% in recall, reference 25.0%",)
