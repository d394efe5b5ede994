"""The kinds of fault that a check can find: code, severity, meaning and repair.

Errors keep a data set out of training, warnings do not. A repair changes only the loaded data,
never a file. `docs/datasets.md` shows this table.
"""

from enum import StrEnum
from typing import Self


class FaultSeverity(StrEnum):
    """Whether a data set with the finding can be used."""

    ERROR = "ERROR"
    WARNING = "WARNING"


_Row = tuple[str, FaultSeverity, str, str, str]


def _error(code: str, meaning: str) -> _Row:
    return code, FaultSeverity.ERROR, meaning, "", ""


def _warning(code: str, meaning: str, repair: str = "", summary: str = "") -> _Row:
    return code, FaultSeverity.WARNING, meaning, repair, summary


class FaultCode(StrEnum):
    """The kinds of fault, in the order in which they are reported.

    Attributes:
        severity: Whether the data set can still be used.
        meaning: Description for people.
        repair: How the loaded data are repaired; '' if they are not.
        summary: Sentence for all findings in a split, with `{count}` and `{file}`; '' if each is
            reported separately.
    """

    severity: FaultSeverity
    meaning: str
    repair: str
    summary: str

    def __new__(
        cls, code: str, severity: FaultSeverity, meaning: str, repair: str, summary: str
    ) -> Self:
        """Make a member from a row; only its code is its value."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.severity, member.meaning = severity, meaning
        member.repair, member.summary = repair, summary
        return member

    PLACE_MISSING = _error("place-missing", "the folder does not exist")
    FORMAT_FOREIGN = _error("format-foreign", "a data set in another format, or not unpacked")
    FORMAT_BROKEN = _error("format-broken", "annotations of another format that cannot be read")
    YAML_MISSING = _error("yaml-missing", "the folder has no data.yaml")
    YAML_SEVERAL = _error(
        "yaml-several", "several YAML files describe a data set, but none is called data.yaml"
    )
    YAML_UNREADABLE = _error("yaml-unreadable", "data.yaml cannot be read")
    YAML_SYNTAX = _error("yaml-syntax", "data.yaml is not YAML")
    YAML_NO_MAPPING = _error("yaml-no-mapping", "data.yaml has no keys")
    YAML_KEY_TWICE = _error("yaml-key-twice", "a key occurs twice in data.yaml")
    YAML_NO_NEWLINE = _warning(
        "yaml-no-newline", "data.yaml does not end with a newline: it may be incomplete"
    )
    YAML_POSE = _error("yaml-pose", "key points (kpt_shape), not boxes")
    TEXT_ENCODING = _error("text-encoding", "a text that is not UTF-8")
    TEXT_RECODED = _warning(
        "text-recoded",
        "a text with a byte order mark, or in UTF-16",
        "read in the encoding of the mark",
    )
    NAMES_MISSING = _error("names-missing", "data.yaml names no class")
    NAMES_INVALID = _error("names-invalid", "names is not a list of texts")
    NAMES_GAP = _error("names-gap", "the classes are not numbered from 0 without a gap")
    NAMES_TWICE = _error("names-twice", "a class is named twice")
    NAMES_ALIKE = _warning("names-alike", "two classes differ only by case, space, '-' or '_'")
    NAMES_NUMBER = _warning("names-number", "the name of a class is a number")
    NAMES_DIFFER = _error("names-differ", "a class of the scenario has no match")
    NC_DIFFERS = _error("nc-differs", "nc is not the number of names")
    PATH_MISSING = _error("path-missing", "`path` does not exist on this machine")
    SPLITS_MISSING = _error("splits-missing", "data.yaml names no train, val or test")
    SPLIT_UNNAMED = _error(
        "split-unnamed", "a required split is not named (training requires train, val, test)"
    )
    SPLIT_RENAMED = _warning(
        "split-renamed", "a split has another name: valid, Train", "read as val, train"
    )
    SPLIT_MISSING = _error("split-missing", "a split does not exist on this machine")
    SPLIT_OUTSIDE = _error("split-outside", "a split is a folder that contains the data set")
    SPLIT_SHARED = _error("split-shared", "two splits are the same folder")
    SPLIT_EMPTY = _error("split-empty", "a split has no images")
    SPLIT_MOVED = _warning("split-moved", "`../` of a well-known exporter", "read beside data.yaml")
    SPLIT_ABOVE = _warning(
        "split-above", "a split names the folder above images/", "the images below it are read"
    )
    SPLIT_ABSOLUTE = _warning("split-absolute", "an absolute path: it works only on this machine")
    LIST_ENTRY_MISSING = _error(
        "list-entry-missing", "a list of images names a file that does not exist"
    )
    LIST_ENTRY_MOVED = _warning(
        "list-entry-moved",
        "`data/` in front of the images of a list, as an exporter writes it",
        "read without it",
    )
    LIST_ENTRY_TWICE = _warning(
        "list-entry-twice", "a list of images names a file twice", "it counts once"
    )
    FOLDER_UNREADABLE = _error("folder-unreadable", "a folder that cannot be read")
    FILE_UNREADABLE = _error("file-unreadable", "a file that cannot be read")
    FILE_IRREGULAR = _error("file-irregular", "a folder, pipe, socket or device named like a file")
    FILE_POINTER = _error("file-pointer", "a Git LFS pointer instead of the file")
    FILE_HUGE = _error("file-huge", "a file that is too large for its kind")
    FILE_STRAY = _warning(
        "file-stray",
        "a file that is not an image",
        "left out",
        "{count} files are not images, e.g. {file}",
    )
    FILE_UNSUPPORTED = _warning("file-unsupported", "an image in an unsupported format", "left out")
    FILE_NAMES_COLLIDE = _warning(
        "file-names-collide", "names that are the same on other systems (case, Unicode composition)"
    )
    LINK_BROKEN = _error("link-broken", "a link to nothing")
    LINK_LOOP = _warning(
        "link-loop", "a link to a folder that is read anyway, or that contains it", "not followed"
    )
    LINK_OUTSIDE = _warning(
        "link-outside", "a link out of the data set: a copy of the folder will lack the file"
    )
    IMAGE_EMPTY = _error("image-empty", "an image of 0 bytes")
    IMAGE_BROKEN = _error("image-broken", "a file that is not an image, or a broken one")
    IMAGE_TRUNCATED = _error("image-truncated", "a truncated image")
    IMAGE_BOMB = _error("image-bomb", "an image with too many pixels; it is not decoded")
    IMAGE_DEEP = _error("image-deep", "one channel with more than 8 bits")
    IMAGE_MISNAMED = _warning(
        "image-misnamed", "the suffix names another format", "read by its content"
    )
    IMAGE_MODE = _warning(
        "image-mode",
        "not 8-bit RGB (grey, palette, CMYK, transparency, 16 bits)",
        "converted to RGB",
    )
    IMAGE_ANIMATED = _warning("image-animated", "more than one frame", "the first one is read")
    IMAGE_ROTATED = _warning(
        "image-rotated",
        "the EXIF tag rotates the image: labels must fit the upright image",
        "rotated upright",
    )
    IMAGE_HUGE = _warning("image-huge", "a very large image: each epoch decodes it again")
    IMAGE_TINY = _warning("image-tiny", "a very small image")
    IMAGES_GREY = _warning("images-grey", "images without colour")
    IMAGE_TWICE = _warning("image-twice", "the same image twice in one split")
    IMAGE_IN_TWO_SPLITS = _error("image-in-two-splits", "the same image in two splits")
    IMAGE_COPY_IN_TWO = _error(
        "image-copy-in-two-splits", "an exporter's copies of one picture in two splits"
    )
    IMAGE_NEARLY_TWICE = _error("image-nearly-twice", "almost the same image in two splits")
    EVALUATION_IMAGE = _error("evaluation-image", "a training image is in the evaluation set")
    EVALUATION_NEARLY = _warning(
        "evaluation-nearly", "a training image looks like one in the evaluation set"
    )
    LABEL_MISSING = _error("label-missing", "an image without a label file")
    LABEL_ORPHAN = _error("label-orphan", "label files without an image")
    LABEL_SHARED = _error("label-shared", "two images with one label file")
    LABEL_HOPELESS = _error("label-hopeless", "a label file with too many wrong rows to list")
    CLASSES_FILE = _warning("classes-file", "classes.txt beside the labels names other classes")
    ROW_COLUMNS = _error("row-columns", "a row that is neither a box nor a polygon")
    ROW_CLASS_TEXT = _error("row-class-text", "a class id that is not a whole number")
    ROW_CLASS_UNKNOWN = _error("row-class-unknown", "a class id without a name")
    ROW_CLASS_DECIMAL = _warning(
        "row-class-decimal", "a class id written as 1.0", "read as the whole number"
    )
    ROW_NUMBER = _error("row-number", "a coordinate that is not a number")
    ROW_NOT_FINITE = _error("row-not-finite", "a coordinate that is infinite or nan")
    ROW_NEGATIVE = _error("row-negative", "a box of negative size")
    ROW_OUTSIDE = _error("row-outside", "a box that is partly outside the image")
    ROW_CLIPPED = _warning(
        "row-clipped",
        "a box that crosses the border by a rounding error",
        "clipped at the border",
        "{count} boxes cross the border by a rounding error and are clipped",
    )
    ROW_EMPTY = _warning(
        "row-empty", "a box without area", "left out", "{count} boxes have no area and are left out"
    )
    ROW_TWICE = _warning(
        "row-twice",
        "a repeated row",
        "it counts once",
        "{count} label rows are repeated and count once",
    )
    ROW_POLYGON = _warning(
        "row-polygon",
        "a polygon",
        "its bounding box is read",
        "{count} label rows are polygons and are read as their bounding boxes",
    )
    BOX_TWO_CLASSES = _warning("box-two-classes", "the same box with two classes")
    BOX_EVERYTHING = _warning(
        "box-everything",
        "a box around the whole image",
        "",
        "{count} boxes are as large as the image, e.g. {file}",
    )
    BOX_TINY = _warning(
        "box-tiny",
        "a box thinner than 2 pixels",
        "",
        "{count} boxes are thinner than 2 pixels, e.g. {file}",
    )
    CLASS_UNSEEN = _warning("class-unseen", "a class without a box in a split")
    CLASS_RARE = _warning("class-rare", "a class with fewer than 10 boxes to learn from")


ALIKE = (FaultCode.IMAGE_COPY_IN_TWO, FaultCode.IMAGE_NEARLY_TWICE)
"""One picture in two splits, as different bytes. Only training refuses such data: models that were
trained before this was an error can still be measured and promoted."""
MIXED = (FaultCode.IMAGE_IN_TWO_SPLITS, *ALIKE)
"""What `guardianflow dataset split` repairs by bringing the images into one split."""
