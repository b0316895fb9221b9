"""Every error that cst raises on purpose.

    CstError                    exit code 2 in the command line, shown without a traceback
    ├── RecipeError             a recipe that can't be read or doesn't fit its schema
    ├── DataError               a row or file of data that can't be used, or a file that can't be written
    ├── RenderingError          messages that a chat template can't express
    ├── ModelError              weights, adapters or tokenizers that can't be loaded or used
    ├── RunFolderError          a run folder that holds something other than what is asked for
    └── TrainingError           training that can't start or go on (non-finite loss, no room for a response)

A message has four parts: what failed, where (file:line, record id, recipe key), the value seen, what to do.
This file knows nothing of who raises what.
"""


class CstError(Exception):
    """The root: whatever is a user's to mend."""


class RecipeError(CstError):
    """A recipe can't be read, or a key or value of it doesn't fit the schema."""


class DataError(CstError):
    """A row or file of data is missing, malformed, or says nothing; or a file can't be written."""


class RenderingError(CstError):
    """A chat template can't express the messages it was given."""


class ModelError(CstError):
    """A model, adapter or tokenizer can't be loaded, saved or used."""


class RunFolderError(CstError):
    """A run folder holds the work of another recipe, or a damaged file."""


class TrainingError(CstError):
    """Training can't start, or can't go on; what was made before is kept."""
