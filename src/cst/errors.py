"""Every error that cst raises on purpose.

    CstError                    exit code 2 in the command line, shown without a traceback
    ├── RecipeError             a recipe that can't be read or doesn't fit its schema
    ├── DataError               a row or file of data that can't be used, or a file that can't be written
    ├── RenderingError          messages that a chat template can't express
    ├── ModelError              weights, adapters or tokenizers that can't be loaded or used
    ├── EndpointError           a failed call of an endpoint; it says whether a retry could help
    ├── BudgetError             a call that might exceed the budget
    ├── RunFolderError          a run folder that belongs to another recipe, or is damaged or in use
    └── TrainingError           training that can't start or continue (non-finite loss, no room for a response)

A message has four parts: what failed, where (file:line, record id, recipe key), the value seen, what to do.
This file does not know who raises what.
"""


class CstError(Exception):
    """The root of all errors that a user can fix."""


class RecipeError(CstError):
    """A recipe can't be read, or does not fit the schema."""


class DataError(CstError):
    """A row or file of data is missing, malformed or empty; or a file can't be written."""


class RenderingError(CstError):
    """A chat template can't express the messages it was given."""


class ModelError(CstError):
    """A model, adapter or tokenizer can't be loaded, saved or used."""


class EndpointError(CstError):
    """A call of an endpoint failed.

    `kind` names the kind of failure; `status` is the HTTP status, if any. `is_final`: a retry would fail too.
    `retry_after_seconds` is the wait that the server asked for. `may_have_cost`: the call may be billed.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        is_final: bool = False,
        retry_after_seconds: float | None = None,
        may_have_cost: bool = True,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds
        self.may_have_cost = may_have_cost

    def saying(self, message: str) -> "EndpointError":
        """The same failure with another message."""
        return EndpointError(
            message,
            kind=self.kind,
            status=self.status,
            is_final=self.is_final,
            retry_after_seconds=self.retry_after_seconds,
            may_have_cost=self.may_have_cost,
        )


class BudgetError(CstError):
    """The next call might exceed the budget. Earlier answers are kept."""


class RunFolderError(CstError):
    """A run folder belongs to another recipe, is damaged, or is in use."""


class TrainingError(CstError):
    """Training can't start or continue. Earlier work is kept."""
