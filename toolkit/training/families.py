"""Which families of corruptions the augmentations show to a network."""

from toolkit.core.config import Config

# The family of each augmentation; what draws from several kinds belongs to several.
AUGMENTED = {
    "geometric": (
        "flip",
        "rotate",
        "translate",
        "shear",
        "jittered-resize",
        "perspective",
        "elastic",
        "rand-augment",
        "aug-mix",
    ),
    "photometric": (
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "colour-degeneration",
        "channel-shift",
        "channel-shuffle",
        "solarise",
        "equalise",
        "colour-curves",
        "rand-augment",
        "aug-mix",
    ),
    "noise": ("gaussian-noise", "impulse-noise"),
    "blur": ("blur", "random-filter"),
    "digital": ("posterise", "pixelate", "sharpness", "edges", "jpeg"),
    "occlusion": ("grid-mask", "cutout", "random-erasing"),
    "overlay": ("mix-up", "cut-mix", "fourier-mix", "overlay"),
}


def list_covered_families(settings: Config) -> tuple[str, ...]:
    """The families of corruptions that a training as in `settings` shows to the network."""
    # Augmentations that no phase uses, or of no rate or strength, show nothing.
    fed = settings.augment if any(phase.augment for phase in settings.train.phases) else ()
    names = {operation.name for operation in fed if operation.rate and operation.factor}
    return tuple(family for family, members in AUGMENTED.items() if names & set(members))
