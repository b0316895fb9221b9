"""What recipes may say of any file of rows. This file knows no room."""

from pathlib import Path

from pydantic import Field

from cst.records import Record, Text


class DataFile(Record):
    """A user's own rows; bad ones are named, and written to the run folder's `quarantine/`."""

    path: Path = Field(
        description="JSONL, JSON, CSV, TSV, text, parquet, or `.gz`; or `hub:OWNER/NAME[@REVISION][:CONFIG][:SPLIT]`."
    )
    format: Text | None = Field(
        default=None, description="Name of the rows' format (docs/data.md); told by their columns if not named."
    )
    columns: dict[Text, Text] = Field(
        default={}, description="The format's column names, each with the file's own: `prompt: my_question`."
    )
    skip_bad_rows: bool = Field(default=False, description="Go on without bad rows (counted) instead of refusing them.")
