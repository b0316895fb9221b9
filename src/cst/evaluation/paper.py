"""The paper's own figures, to stand beside a run's: Tables I-III of Gallego 2024 (arXiv 2404.00495).

Rates as printed there, without n or interval, for it prints none. This file holds numbers and no opinion on them.
"""

from dataclasses import dataclass

from cst.evaluation.tables import Heading, Row

CITATION = "Gallego 2024, arXiv 2404.00495"
NOTE = (
    f"The paper ({CITATION}) prints its rates without n or interval; its published answers hold 26 prompts a "
    "configuration, where 26 of 26 has the 95 % interval [.871, 1.000]."
)


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables: per start model, per tuning, the printed values."""

    columns: tuple[str, ...]
    values: dict[str, dict[str, str]]

    def rows(self) -> tuple[Row, ...]:
        """The values as rows of a table, a heading for each start model."""
        rows: list[Row] = []
        for start, tunings in self.values.items():
            rows.append(Heading(f"the paper, {start}"))
            rows.extend((tuning, *printed.split()) for tuning, printed in tunings.items())
        return tuple(rows)


HERMES, SOLAR = "OpenHermes-2.5-Mistral-7B", "SOLAR-10.7B-Instruct"

TABLE_I = PaperTable(
    ("S1", "S0"),
    {
        HERMES: {"base": ".73 .85", "DPO": ".96 .12", "CST": "1.00 1.00"},
        SOLAR: {"base": ".88 .65", "DPO": "1.00 .00", "CST": "1.00 .96"},
    },
)
TABLE_II = PaperTable(
    ("S1", "S0", "S_RP", "S_A", "average"),
    {
        HERMES: {"base": ".73 .90 .82 .97 .85", "DPO": "1.00 .12 .94 .91 .74", "CST": "1.00 .92 1.00 1.00 .98"},
        SOLAR: {"base": ".77 .38 .59 .94 .67", "DPO": "1.00 .00 .94 .94 .72", "CST": ".96 .96 .94 .97 .96"},
    },
)
TABLE_III = PaperTable(
    ("ARC", "HellaSwag", "MMLU", "TruthfulQA", "average", "average without TruthfulQA"),
    {
        HERMES: {"base": "64.9 84.2 63.6 52.2 66.2 70.9", "CST": "66.0 84.3 62.4 61.7 68.6 70.9"},
        SOLAR: {"base": "71.1 88.2 66.2 71.4 74.2 75.2", "CST": "70.4 88.0 66.4 72.3 74.3 74.9"},
    },
)
