"""The stage that reads verdicts once more: who switches prompt by prompt, and what is left at equal length."""

from cst.records import Completion, Verdict
from cst.run_folder import Stage
from cst.store import read_records, write_json
from cst.workshop import Workshop


def robustness_stage(workshop: Workshop) -> Stage:
    """Verdicts to switch rates, their paired tests, and length-matched scores."""
    folder, configurations = workshop.folder, workshop.configurations

    def work() -> None:
        from cst.evaluation.length_matched import length_matched
        from cst.evaluation.scores import outcomes
        from cst.evaluation.switch_rates import compare_switches, contested, switch_rates

        completions = read_records(folder / "completions.jsonl", Completion)
        verdicts = read_records(folder / "verdicts.jsonl", Verdict)
        groups = contested(outcomes(completions, verdicts, configurations), configurations)
        write_json(folder / "switch_rates.json", switch_rates(groups))
        write_json(folder / "switch_tests.json", compare_switches(groups))
        write_json(folder / "length_matched.json", length_matched(groups))

    inputs = ["completions.jsonl", "verdicts.jsonl"]
    outputs = ["switch_rates.json", "switch_tests.json", "length_matched.json"]
    return Stage("robustness", lambda: configurations, inputs, outputs, work)
