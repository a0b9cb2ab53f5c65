"""Which adapter reads which format."""

from pathlib import Path
from typing import assert_never

from pipeline.datasets.formats.diginetica import diginetica
from pipeline.datasets.formats.generic import generic
from pipeline.datasets.formats.jdata import jdata
from pipeline.datasets.formats.otto import otto
from pipeline.datasets.formats.rees46 import rees46
from pipeline.datasets.formats.retailrocket import retailrocket
from pipeline.datasets.formats.yoochoose import yoochoose
from pipeline.datasets.raw_rows import InputFile
from pipeline.study import DatasetConfig, DatasetFormat


def list_inputs(dataset: DatasetConfig, path: Path) -> list[InputFile]:  # noqa: PLR0911 - one a format
    """The files of a dataset at ``path``, in the order they are read."""
    match dataset.format:
        case DatasetFormat.OTTO:
            return otto(path)
        case DatasetFormat.YOOCHOOSE:
            return yoochoose(path)
        case DatasetFormat.DIGINETICA:
            return diginetica(path)
        case DatasetFormat.RETAILROCKET:
            return retailrocket(path)
        case DatasetFormat.REES46:
            return rees46(path)
        case DatasetFormat.JDATA:
            return jdata(path)
        case DatasetFormat.GENERIC:
            assert dataset.generic is not None
            return generic(path, dataset.generic)
        case _:
            assert_never(dataset.format)
