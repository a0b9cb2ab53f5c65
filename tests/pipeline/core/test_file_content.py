"""What a file is, by its first bytes."""

import gzip

import pytest

from pipeline.core.file_content import did_you_mean, foreign_content

TEXT = "visit,product\nv1,Zoë\n"


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (gzip.compress(TEXT.encode(), mtime=0), "gzip; give it a name that ends in .gz"),
        (b"PAR1\x15\x04", "parquet; give it a name that ends in .parquet"),
        (b"PK\x03\x04\x14", "a zip archive or a spreadsheet; unzip it, or save the sheet as CSV"),
        (TEXT.encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "UTF-16 text; save it as UTF-8"),
        (b"\n<!DOCTYPE html><title>504</title>", "a web page, perhaps of a download that failed"),
        (bytes(range(256)), "binary data, not text"),
    ],
)
def test_what_is_no_text_is_named_with_the_remedy(head, what):
    assert what in (foreign_content(head) or "")


@pytest.mark.parametrize(
    "head", [b"", TEXT.encode(), TEXT.encode("latin-1"), b"a,b\n1,\0\n" * 30 + b"x" * 3000]
)
def test_text_is_text_whatever_a_byte_of_it_says(head):
    assert foreign_content(head) is None


@pytest.mark.parametrize(
    ("wanted", "guess"),
    [("session", "Session"), ("user_id", "User ID"), ("clicked", "cliked"), ("item", None)],
)
def test_a_name_that_is_nearly_there_is_suggested(wanted, guess):
    names = ["Session", "User ID", "cliked", "group"]

    assert did_you_mean(wanted, names) == (f" (did you mean {guess!r}?)" if guess else "")
