"""One process of a training: `torchrun ... distributed_worker.py MODEL SETTINGS_JSON ROWS FOLDER...`."""

import sys
from pathlib import Path

from tiny import load_tiny, mirrored_preferences

from cst.recipe import TrainingSettings
from cst.training.loop import train


def main(model: str, settings: str, rows: str, *folders: str) -> None:
    for folder in folders:
        train(
            mirrored_preferences((int(rows) + 1) // 2)[: int(rows)],
            loaded=load_tiny(Path(model)),
            settings=TrainingSettings.model_validate_json(settings),
            folder=Path(folder),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
