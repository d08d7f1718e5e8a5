"""`cbtool evaluate`: score a run on its held-out parts, and estimate the hidden score."""

from __future__ import annotations

from pathlib import Path

import click

from tools import live, options, output, recent
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.data import dataset
    from toolkit.evaluation import calibration, metrics, results, shift_benchmark, tta
    from toolkit.evaluation import evaluate as evaluation
    from toolkit.report import page, plots
    from toolkit.training import run_folder


@click.command()
@options.run
@options.training_file
@options.part(
    "The part to score. `test` scores both parts, and the run records it: a test part that is used "
    "often no longer gives an unbiased score."
)
@click.option(
    "--no-views", is_flag=True, help="Use no test-time augmentation, for large networks on CPUs."
)
@click.option(
    "--full", is_flag=True, help="Print every table: families, classes, confidence, views."
)
@options.json
@options.quiet
def evaluate(
    folder: Path | None,
    data_file: Path | None,
    part: str,
    no_views: bool,
    full: bool,
    as_json: bool,
) -> None:
    """Score a run; estimate the hidden test score.

    Scores the run on clean and on corrupted images. The corruptions have seven families at five
    severities, and chains of several families; none shares code with the training's augmentation.
    In the estimated score, the families that the training did not include have at least the weight
    of one family.

    Also chooses the views of test-time augmentation and the corrections after training
    (temperature, class shares) that raise the score, on other corrupted validation images.

    Runs the code that is submitted, and exports the package first if there is none. Writes the
    predictions, metrics.json, a picture of each confusion matrix and report.html, a page with all
    that is known of the run, into the run folder.
    """
    run = run_folder.open_finished(recent.choose_run(folder))
    samples = load_data(run, data_file)
    with live.stages() as stages:
        with stages.stage("evaluate") as progress:
            evaluated = evaluation.evaluate(run, samples, part == "test", not no_views, progress)
            plots.confusion_pictures(evaluated.confusions, samples.class_names, run.folder)
        with stages.stage("report") as progress:
            page.write_report(run, samples, progress)
    openings = len(evaluation.openings(run))
    if as_json:
        headline = evaluated.parts[part].result.headline
        output.as_json(
            {
                "run": str(run.folder),
                "split": part,
                **vars(headline),
                "test_openings": openings,
                **results.evaluation_values(evaluated),
            }
        )
        return
    if full:
        for name, found in evaluated.parts.items():
            print_details(f"{name} part", found.result, samples.class_names)
            print_calibration(name, found.calibration)
        if evaluated.views:
            print_views(evaluated.views)
        print_post_processing(evaluated.post_processing, evaluated.parts[part].result.metric)
    # Last, so that it is still on the screen.
    for name, found in evaluated.parts.items():
        print_headline(f"{name} part", found.result, samples.class_names)
    click.echo(
        f"The test part was opened {openings} times."
        if openings != 1
        else "The test part was opened once."
    )
    output.hint(f"Report: {run.folder / page.FILE}, a page to open in a browser.")
    if not full:
        output.hint("By family, severity and class, with confidence and views: --full.")
    output.hint(f"Next: cbtool build --run {run.folder} --out submission.zip")


def load_data(run: run_folder.Run, data_file: Path | None) -> dataset.Samples:
    """The samples `run` was trained on, from `data_file` or from their path at training."""
    classes = len(run_folder.read_provenance(run)["class_names"])
    contract = run_folder.read_contract(run)
    return dataset.load(data_file or run_folder.training_file(run), classes, contract)


def print_benchmark(
    title: str, found: shift_benchmark.BenchmarkResult, class_names: tuple[str, ...]
) -> None:
    """Prints all scores of the shift benchmark: by family, by class, and at last the headline."""
    print_details(title, found, class_names)
    print_headline(title, found, class_names)


def print_details(
    title: str, found: shift_benchmark.BenchmarkResult, class_names: tuple[str, ...]
) -> None:
    """Prints the scores by family and severity, and by class."""
    severities = len(next(iter(found.families.values())))
    families = [
        (family, *(f"{each.value:.3f} ±{(each.high - each.low) / 2:.3f}" for each in row))
        for family, row in found.families.items()
    ]
    columns = ("family", *(f"severity {severity}" for severity in range(1, severities + 1)))
    output.table(
        columns,
        families,
        title=f"{found.metric} by family and severity, {title} (± half the 95 % interval)",
    )
    for condition, scores in found.scores.items():
        print_classes(f"{title}, {condition}", scores, class_names)


def print_headline(
    title: str, found: shift_benchmark.BenchmarkResult, class_names: tuple[str, ...]
) -> None:
    """Prints the scores of the shift benchmark on one screen: the three numbers, and where most is
    lost."""
    rows = [
        ("clean", *_interval(found.clean)),
        ("shift: chains of corruptions", *_interval(found.shift)),
        ("estimated for a hidden test set", *_interval(found.estimate.score)),
    ]
    output.table((found.metric, "", "95 % interval"), rows, title=f"Scores, {title}")
    if found.estimate.absent:
        absent = ", ".join(found.estimate.absent)
        output.sentence(f"Families that the training did not include: {absent}.")
    if found.estimate.stand_in:
        weakest = found.estimate.stand_in
        output.sentence(
            f"In the estimate, {weakest}, the weakest family, stands for an unknown one."
        )
    worst = [f"{family} {mean:.3f}" for family, mean in found.worst_families()]
    output.sentence(f"Worst families: {', '.join(worst)}.")
    classes = [
        f"{class_names[label]} {recall:.3f}"
        for label, recall in found.worst_classes(shift_benchmark.CHAINED)
    ]
    output.sentence(f"Worst classes under corruptions, by recall: {', '.join(classes)}.")
    for condition in found.scores:
        confusions = [
            f"{class_names[truth]} as {class_names[wrong]} ({count})"
            for truth, wrong, count in found.worst_confusions(condition)
        ]
        output.sentence(f"Most frequent errors, {condition}: {', '.join(confusions) or 'none'}.")


def print_calibration(part: str, found: dict[str, dict[str, float]]) -> None:
    """Prints the calibration, without and with the corrections after training."""
    rows = [
        (
            f"{condition}, {measure.replace('_', ' ')}",
            values[f"{measure}_without_steps"],
            values[measure],
        )
        for condition, values in found.items()
        for measure in ("expected_calibration_error", "log_loss", "accuracy")
    ]
    output.table(("", "uncorrected", "as submitted"), rows, title=f"Confidence, {part} part")


def print_views(choice: tta.ViewChoice) -> None:
    """Prints the gain of each view, and the chosen set."""
    chosen = choice.chosen.views
    rows = [
        (gain.views[-1], *_gain(gain.gain), "yes" if gain.views[-1] in chosen else "")
        for gain in choice.alone
    ]
    rows.append(
        (f"the chosen set, {len(chosen)} with the plain view", *_gain(choice.chosen.gain), "")
    )
    output.table(
        ("view, with the plain one", "gain", "95 % interval", "chosen"),
        rows,
        title="Views, on chains of validation images",
    )


def print_post_processing(found: calibration.PostProcessing, metric: str) -> None:
    """Prints the gain of each correction after training, and whether it is applied. metric: of the
    competition."""
    rows = [
        (
            "temperature",
            "log loss",
            *_gain(found.loss_gain),
            f"{found.temperature:.3f}" if found.temperature else "no gain: not applied",
        ),
        (
            "other class shares",
            metric,
            *_gain(found.score_gain),
            "corrected" if found.shares else "no gain: not applied",
        ),
    ]
    output.table(
        ("correction", "measure", "gain", "95 % interval", ""),
        rows,
        title="Corrections after training, on chains of validation images",
    )


def _gain(found: metrics.Estimate) -> tuple[str, str]:
    return f"{found.value:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}"


def _interval(found: metrics.Estimate) -> tuple[float, str]:
    return found.value, f"{found.low:.4f} to {found.high:.4f}"


def print_classes(part: str, scores: metrics.Scores, class_names: tuple[str, ...]) -> None:
    """Prints one line per class."""
    rows = [(name, *numbers) for name, numbers in zip(class_names, scores.per_class)]
    rows.append(("all (mean over classes)", scores.precision, scores.recall, scores.f1, scores.n))
    output.table(("class", "precision", "recall", "F1", "images"), rows, title=f"Classes, {part}")
