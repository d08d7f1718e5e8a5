"""The keys of a run's configuration: strict frozen dataclasses, every key with its description."""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from toolkit.core.catalogue import require_augmentation, require_backbone


def _trainable(value: Any) -> Any:
    whole, part = isinstance(value, int) and not isinstance(value, bool), isinstance(value, float)
    if value in ("head", "all") or (whole and value >= 1) or (part and 0 < value < 1):
        return value
    raise ValueError(
        "it must be 'head', 'all', the number of a layer, or a fraction of the layers such as 0.5"
    )


def _batch_size(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (whole and value >= 1):
        return value
    raise ValueError("it must be a whole number from 1 on, or 'auto'")


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("it must be a power of two")
    return value


STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


Monitor = Literal[
    "val_shift_accuracy",
    "val_shift_macro_f1",
    "val_shift_balanced_accuracy",
    "val_shift_quadratic_kappa",
    "val_shift_log_loss",
    "val_loss",
    "val_accuracy",
]


def _doc(text: str) -> Any:
    """The description of a key, which docs/configuration.md shows."""
    return Field(description=text)


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The training file."""

    classes: Annotated[
        int,
        Field(ge=2, le=256),
        _doc("Number of classes, if the file has no class names."),
    ] = 8


@dataclass(frozen=True, config=STRICT)
class CleanConfig:
    """The choice of the images that are dropped before the split.

    On the reference data the irrelevant pictures have the outlier scores 4.9 and 7.1, and the
    farthest cell 3.7; on subsets of 20 cells per class the scores are 5.9 and 4.0. Unrelated cells
    differ in more than 40 bits of the perceptual hash.
    """

    enabled: Annotated[bool, _doc("Whether to drop outliers, copies and broken images.")] = True
    outlier_score: Annotated[
        Positive,
        _doc(
            "An image is dropped if its outlier score is higher: the robust z-score of its log "
            "distance in whitened PCA space."
        ),
    ] = 4.3
    components: Annotated[int, Field(ge=2, le=1000), _doc("Number of axes of the PCA space.")] = 200
    near_copy_bits: Annotated[
        int,
        Field(ge=0, le=128),
        _doc("Two images are copies if at most this many of the 256 bits of their hashes differ."),
    ] = 30


@dataclass(frozen=True, config=STRICT)
class SplitConfig:
    """The choice of the cleaned images that are held out."""

    validation: Annotated[
        float, Field(gt=0, lt=0.5), _doc("Share of the images in the validation part.")
    ] = 0.05
    test: Annotated[float, Field(gt=0, lt=0.5), _doc("Share of the images in the test part.")] = (
        0.05
    )
    seed: Annotated[int, Field(ge=0, lt=2**32), _doc("The same seed gives the same parts.")] = 0


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The network: a backbone, pooled features, and a head of dense layers."""

    backbone: Annotated[
        str,
        AfterValidator(require_backbone),
        _doc('Name of the backbone, such as "efficientnet-lite0"; `cbtool backbones` lists them.'),
    ]
    weights: Annotated[
        str,
        _doc('Initial weights of the backbone: "imagenet", "none", or the path of a weights file.'),
    ] = "imagenet"
    head_units: Annotated[
        tuple[Count, ...],
        _doc(
            "Widths of the dense layers before the class scores, each with head_norm, ReLU and "
            "dropout; [] for none."
        ),
    ] = (1024, 512, 256)
    head_norm: Annotated[
        Literal["batch", "layer"],
        _doc(
            '"batch": batch norm after each dense layer, as in the report. "layer": one layer norm '
            "of the features before the first dense layer, as in the winners' network."
        ),
    ] = "batch"
    dropout: Annotated[Share, _doc("Dropout rate after each dense layer.")] = 0.3
    input_size: Annotated[
        int,
        Field(ge=0, le=1024),
        _doc("Side in pixels to which images are resized; 0 keeps their size."),
    ] = 0


@dataclass(frozen=True, config=STRICT)
class Operation:
    """One augmentation. The list `augment` applies its operations in order."""

    name: Annotated[
        str,
        AfterValidator(require_augmentation),
        _doc('Name of the augmentation, such as "flip"; `cbtool augmentations` lists them.'),
    ]
    rate: Annotated[
        float, Field(ge=0, le=1), _doc("Share of the images that the augmentation changes.")
    ] = 1.0
    factor: Annotated[
        float, Field(ge=0, le=1), _doc("Strength from 0 to 1; 0 changes nothing.")
    ] = 0.5


@dataclass(frozen=True, config=STRICT)
class BlockConfig:
    """The report's block scheme: each block of augmented images is made, used for training and
    discarded. Memory holds a few blocks, independent of the number of copies."""

    size: Annotated[Count, _doc("Number of images in a block.")] = 1024
    copies: Annotated[
        Count, _doc("Number of differently augmented copies of each image in an epoch.")
    ] = 1


@dataclass(frozen=True, config=STRICT)
class Phase:
    """A part of training with one optimizer, one learning rate and one set of trainable layers.

    Without `augment`, a phase that trains the head alone runs the backbone once and trains on its
    stored features.
    """

    trainable: Annotated[
        str | int | float,
        BeforeValidator(_trainable),
        _doc(
            'Which layers are trained: "head"; "all"; a whole number N for the backbone\'s layers '
            "from the N-th on (the report's 124); or a fraction for the last part of its layers "
            "(0.5)."
        ),
    ]
    epochs: Annotated[Count, _doc("Largest number of epochs; see patience.")]
    learning_rate: Annotated[Positive, _doc("Learning rate, after warmup.")]
    optimizer: Annotated[
        Literal["adam", "adamw", "lion", "sgd"],
        _doc("Optimizer; each phase starts with a new state."),
    ] = "adam"
    weight_decay: Annotated[
        float, Field(ge=0), _doc("Decoupled weight decay of the optimizer.")
    ] = 0.0
    schedule: Annotated[
        Literal["constant", "cosine", "exponential"],
        _doc(
            "Learning rate over the phase's epochs: constant; cosine, down to 0; or exponential, "
            "which reduces it by the share `decay` per epoch."
        ),
    ] = "constant"
    decay: Annotated[
        Share, _doc("Share by which the exponential schedule reduces the learning rate per epoch.")
    ] = 0.03
    warmup: Annotated[
        float, Field(ge=0), _doc("Epochs of linear increase before the schedule; 0 for none.")
    ] = 0.0
    plateau: Annotated[
        int,
        Field(ge=0),
        _doc(
            "Epochs without an improvement of `monitor` after which the learning rate is "
            "multiplied by plateau_factor; 0 for never."
        ),
    ] = 2
    plateau_factor: Annotated[
        float, Field(gt=0, lt=1), _doc("Factor of the learning rate after a plateau.")
    ] = 0.5
    patience: Annotated[
        int,
        Field(ge=0),
        _doc("Epochs without an improvement of `monitor` after which the phase ends; 0 for never."),
    ] = 5
    frozen_norm: Annotated[
        bool,
        _doc("Whether the backbone's batch norms keep their statistics and are not trained."),
    ] = False
    accumulate: Annotated[
        Count, _doc("Number of steps whose gradients are averaged for one update of the weights.")
    ] = 1
    augment: Annotated[bool, _doc("Whether the phase uses the augmentations.")] = True


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The settings of all phases."""

    phases: Annotated[
        tuple[Phase, ...], Field(min_length=1), _doc("The phases, in the order of training.")
    ]
    batch_size: Annotated[
        int | Literal["auto"],
        BeforeValidator(_batch_size),
        _doc(
            'Number of images in a step. "auto": the largest power of two that fits into memory, '
            "up to effective_batch; the run's config.toml has the number."
        ),
    ] = 64
    effective_batch: Annotated[
        Count,
        AfterValidator(_power_of_two),
        _doc(
            'With batch_size = "auto": number of images for an update of the weights, a power of '
            "two. Where fewer fit into memory, the gradients of several steps are averaged "
            "(`accumulate`); batch norms see the images of one step."
        ),
    ] = 64
    seed: Annotated[
        int, Field(ge=0, lt=2**31), _doc("Seed of initialisation, order and augmentation.")
    ] = 0
    monitor: Annotated[
        Monitor,
        _doc(
            "The measure that decides plateau, patience and the best epoch. val_shift_accuracy is "
            "the accuracy on corrupted copies of the validation part: clean images say little "
            "about corrupted test images. A competition.toml with another metric changes the "
            "default to that metric on the same copies."
        ),
    ] = "val_shift_accuracy"
    augmented_validation: Annotated[
        bool,
        _doc(
            "Whether val_loss and val_accuracy are measured on one augmented copy of the "
            "validation part, the same in every epoch."
        ),
    ] = False
    label_smoothing: Annotated[
        Share, _doc("Share of each label that is spread over all classes.")
    ] = 0.0
    focal: Annotated[
        float,
        Field(ge=0),
        _doc("Gamma of the focal loss (Lin et al., arXiv:1708.02002); 0 for cross-entropy."),
    ] = 0.0
    class_weights: Annotated[
        bool,
        _doc("Whether rarer classes have higher weights, so that all add equally to the loss."),
    ] = False
    oversample: Annotated[
        bool,
        _doc("Whether images of rarer classes are repeated, so that all are equally frequent."),
    ] = False
    ema: Annotated[
        Share,
        _doc(
            "Momentum of an exponential moving average of the weights; validation and checkpoints "
            "use the average. 0 for none."
        ),
    ] = 0.0
    precision: Annotated[
        Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"],
        _doc(
            'Arithmetic of the layers. "auto": mixed_bfloat16 on GPUs that support it, '
            "mixed_float16 on other GPUs, float32 on CPUs, where bfloat16 was not faster."
        ),
    ] = "auto"
    remat: Annotated[
        bool,
        _doc(
            "Whether the activations of layers are computed again for the gradients instead of "
            "being stored (keras.RematScope): less memory, the same numbers, a slower step. For "
            "networks with GELU or swish, such as ConvNeXt; with ReLU it saves nothing."
        ),
    ] = False
    deterministic: Annotated[
        bool,
        _doc(
            "Whether the same seed gives the same weights bit for bit, on CPUs; training is then "
            "slower."
        ),
    ] = False
    blocks: Annotated[
        BlockConfig | None,
        _doc("The report's block scheme; without it, the images are a continuous stream."),
    ] = None

    @property
    def images_per_step(self) -> int:
        """batch_size as a number, which "auto" is once `training.batch_size` has settled it."""
        if self.batch_size == "auto":
            raise ValueError("batch_size is still auto")
        return self.batch_size


@dataclass(frozen=True, config=STRICT)
class Config:
    """All settings of a run, except the data."""

    model: ModelConfig
    train: TrainConfig
    data: DataConfig = DataConfig()
    clean: CleanConfig = CleanConfig()
    split: SplitConfig = SplitConfig()
    augment: Annotated[
        tuple[Operation, ...], _doc("The augmentations, in the order of their application.")
    ] = ()


def without_weights(model: ModelConfig) -> ModelConfig:
    """The same network, to be built without loading pretrained weights."""
    return dataclasses.replace(model, weights="none")
