"""A submission's zip, and what the organiser set for the phase that it is meant for."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from toolkit.codabench.bundle import DEFAULT_IMAGE, Bundle, BundlePhase
from toolkit.runtime.checks import contents
from toolkit.runtime.checks.check import Check, Subject, failed, passed, warning

PUBLIC_LIMIT = 600  # seconds a step on the default queue, whatever the phase says


@dataclass(frozen=True)
class Candidate:
    """A zip and the phase of a bundle that it is meant for. has_metadata: whether the zip has a
    metadata file, which may hold a command."""

    zip_file: Subject
    bundle: Bundle
    phase: BundlePhase
    has_metadata: bool

    @property
    def files(self) -> set[str]:
        """The names of the zip's files, without folders."""
        return {entry.filename for entry in self.zip_file.entries if not entry.is_dir()}


def check_folders(candidate: Candidate) -> Check:
    """Files lie at the top of the zip, not all in one folder."""
    names = candidate.files
    tops = {PurePosixPath(name).parts[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names):
        return failed(
            "nested folder",
            f"all files are in {tops.pop()}/, which CodaBench does not flatten",
            "Zip the files, not their folder: zip -j.",
        )
    return passed("nested folder", "the files are at the root")


def check_entry_names(candidate: Candidate) -> Check:
    """As in `validate`."""
    return contents.check_entry_names(candidate.zip_file)


def check_size(candidate: Candidate) -> Check:
    """As in `validate`."""
    return contents.check_size(candidate.zip_file)


def check_copy(candidate: Candidate) -> Check:
    """Without a metadata file, the zip counts against the user's quota a second time."""
    # A task without an ingestion scores the zip itself: then the copy is what the phase is for.
    tasks = candidate.bundle.tasks_of(candidate.phase)
    if not candidate.has_metadata and any(task.ingestion_program for task in tasks):
        return warning(
            "copied",
            "the whole zip is copied into the prediction's output",
            "The copy counts against the quota; you cannot change this.",
        )
    return passed("copied", "the zip is not copied beside the predictions")


def check_own_limit(candidate: Candidate) -> Check:
    """The zip's own time limit is not beyond the phase's."""
    own, allowed = candidate.zip_file.time_limit, candidate.phase.execution_time_limit
    if own and own > allowed:
        return warning(
            "own limit",
            f"the zip's own limit is {own:g} s, the phase allows {allowed} s",
            f"Build it with --time-limit {allowed}.",
        )
    if not own:
        return passed("own limit", "the zip has none")
    return passed("own limit", f"within the phase's {allowed} s")


def check_time_limit(candidate: Candidate) -> Check:
    """The phase's time limit is one that CodaBench's public machines allow."""
    allowed = candidate.phase.execution_time_limit
    # The default queue cuts a longer limit down to its own; an organiser's own queue does not.
    if allowed > PUBLIC_LIMIT and not candidate.bundle.queue:
        return warning(
            "time limit",
            f"the phase allows {allowed} s per step, CodaBench's public machines {PUBLIC_LIMIT} s",
            f"Stay below {PUBLIC_LIMIT} s, unless the organiser has their own machines.",
        )
    return passed("time limit", f"{allowed} s per step")


def check_image(candidate: Candidate) -> Check:
    """The organiser chose an image: the default one is too old for most submissions."""
    # It is what a bundle that names none gets, so most likely nobody chose it.
    if candidate.bundle.docker_image == DEFAULT_IMAGE:
        return warning(
            "image",
            f"{DEFAULT_IMAGE} has Python 3.7 and no recent TensorFlow",
            "Ask the organiser whether this is intended.",
        )
    return passed("image", candidate.bundle.docker_image)


def check_start(candidate: Candidate) -> Check:
    """Submissions start without an organiser."""
    if not candidate.bundle.auto_run_submissions:
        return warning(
            "start", "submissions wait until an organiser starts them", "Wait for the organiser."
        )
    return passed("start", "submissions start automatically")


def check_logs(candidate: Candidate) -> Check:
    """Participants can read logs and output."""
    if candidate.phase.hide_output:
        return warning(
            "hidden",
            "the phase hides logs and output from participants",
            "Rehearse before the upload: you cannot read the logs afterwards.",
        )
    return passed("hidden", "participants can read logs")


def check_leaderboard(candidate: Candidate) -> Check:
    """Scores reach the leaderboard by themselves."""
    if any(board.submission_rule == "Add" for board in candidate.bundle.leaderboards):
        return warning(
            "leaderboard",
            "scores are not added automatically",
            "Add them: cbtool upload --leaderboard.",
        )
    return passed("leaderboard", "scores are added automatically")
