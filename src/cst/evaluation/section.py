"""A part of a report as a value: its words, tables, drawings and samples. This file knows none of them."""

from dataclasses import dataclass

from cst.evaluation.figures import Drawing
from cst.evaluation.samples import Sample
from cst.evaluation.tables import Table


@dataclass(frozen=True)
class Section:
    """A part of the report; `needs` names the files that it is made of, said where there is nothing to show.

    A `folded` part is opened by the reader; `beside` puts the drawing and the tables side by side where there is room.
    """

    title: str
    text: str
    needs: str
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    samples: tuple[Sample, ...] = ()
    folded: bool = False
    beside: bool = False

    @property
    def anchor(self) -> str:
        """What links to the section say."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    @property
    def is_empty(self) -> bool:
        """There is nothing to show."""
        return not (self.tables or self.drawings or self.samples)
