"""Every error that cst raises on purpose.

    CstError                    exit code 2 in the command line, shown without a traceback
    ├── RecipeError             a recipe that can't be read or doesn't fit its schema
    ├── DataError               a row or file of data that can't be used, or a file that can't be written
    ├── RenderingError          messages that a chat template can't express
    ├── ModelError              weights, adapters or tokenizers that can't be loaded or used
    ├── EndpointError           a call of an endpoint that failed; it says whether asking again could help
    ├── BudgetError             a call that might pass what the user wants to spend
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


class EndpointError(CstError):
    """A call of an endpoint gave no answer.

    `kind` names the way it failed and `status` is HTTP's, where there was one. `is_final`: asking again would fail
    again. `retry_after_seconds` is what the server asked for. `may_have_cost`: the server may have worked on the call.
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
        """The same failure in other words."""
        return EndpointError(
            message,
            kind=self.kind,
            status=self.status,
            is_final=self.is_final,
            retry_after_seconds=self.retry_after_seconds,
            may_have_cost=self.may_have_cost,
        )


class BudgetError(CstError):
    """The next call might pass the budget; what was answered before is kept."""


class RunFolderError(CstError):
    """A run folder holds the work of another recipe, or a damaged file."""


class TrainingError(CstError):
    """Training can't start, or can't go on; what was made before is kept."""
