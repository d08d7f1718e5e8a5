"""From a training file to a checked submission.zip, in six calls.

    python examples/train_from_python.py [FOLDER]

It uses synthetic cells, so it needs no data and takes a minute. Replace them by your own file.
"""

import sys
from pathlib import Path

from toolkit.core import config
from toolkit.data import dataset, synthetic
from toolkit.evaluation.evaluate import evaluate
from toolkit.export.package import build
from toolkit.runtime.checks import validate
from toolkit.training.fit import fit
from toolkit.training.prepare import prepare


def main(folder: Path) -> None:
    data, submission = folder / "training_set.npz", folder / "submission.zip"
    dataset.save(synthetic.draw(20), data)
    # The file of a preset, with some of its values changed.
    settings = config.preset(
        "tiny", ("split.validation=0.2", "split.test=0.2", "train.phases.1.epochs=4")
    )

    samples = dataset.load(data)
    prepared = prepare(samples, settings)
    run = fit(prepared, settings, folder / "run", data)
    evaluation = evaluate(run, samples)
    build([run], submission)
    checks = validate(submission)

    kept = int(prepared.cleaning.kept.sum())
    found = evaluation.parts["validation"].result.headline
    failed = [check.name for check in checks if check.status == "failed"]
    print(f"kept {kept} of {len(samples)} images")
    print(f"accuracy {found.clean:.3f} on held-out images, {found.shift:.3f} under corruptions")
    print(f"{submission}: {len(checks) - len(failed)} of {len(checks)} checks passed")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example"))
