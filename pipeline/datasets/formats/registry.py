"""The formats of raw data: those built in, and those that other packages bring."""

from collections.abc import Callable, Mapping
from pathlib import Path

from models.extensions import ExtensionPoint
from pipeline.core.errors import DataError, ParetoscopeError
from pipeline.datasets.formats.diginetica import diginetica
from pipeline.datasets.formats.generic import generic
from pipeline.datasets.formats.jdata import jdata
from pipeline.datasets.formats.otto import otto
from pipeline.datasets.formats.rees46 import rees46
from pipeline.datasets.formats.retailrocket import retailrocket
from pipeline.datasets.formats.yoochoose import yoochoose
from pipeline.datasets.raw_rows import InputFile
from pipeline.study import DatasetConfig, DatasetFormat

Adapter = Callable[[Path], list[InputFile]]
"""Lists the files at a path, with how each is read."""

_BUILT_IN: Mapping[str, Adapter] = {
    DatasetFormat.OTTO: otto,
    DatasetFormat.YOOCHOOSE: yoochoose,
    DatasetFormat.DIGINETICA: diginetica,
    DatasetFormat.RETAILROCKET: retailrocket,
    DatasetFormat.REES46: rees46,
    DatasetFormat.JDATA: jdata,
}


def list_inputs(dataset: DatasetConfig, path: Path) -> list[InputFile]:
    """The files of a dataset at ``path``, in the order they are read.

    Raises:
        DataError: if a file is missing, a custom format fails, or there is no dataset.
        ModelError: if a custom format cannot be loaded.
    """
    if dataset.format == DatasetFormat.NONE:
        msg = "this study has no raw log: set dataset.format and dataset.path to read one"
        raise DataError(msg)
    if dataset.generic is not None:
        return generic(path, dataset.generic)
    adapter = _BUILT_IN.get(dataset.format)
    return _custom_inputs(dataset.format, path) if adapter is None else adapter(path)


def _custom_inputs(name: str, path: Path) -> list[InputFile]:
    adapter = ExtensionPoint.FORMATS.load(
        name,
        key="dataset.format",
        built_in=[one.value for one in DatasetFormat if one is not DatasetFormat.NONE],
    )
    try:
        files = list(adapter(path))
    except ParetoscopeError:
        raise
    except Exception as error:  # a custom format may raise anything
        msg = f"dataset.format = {name!r} fails on {path} ({type(error).__name__}: {error})"
        raise DataError(msg) from error
    if not files or not all(isinstance(file, InputFile) for file in files):
        got = sorted({type(file).__name__ for file in files}) or "nothing"
        msg = f"dataset.format = {name!r} returns {got} for {path}, expected a list of InputFile"
        raise DataError(msg)
    return files
