"""The kinds of fault that a check can find: code, severity, title and repair.

Errors keep a data set out of training, warnings do not. A repair changes only the loaded data,
never a file. `docs/datasets.md` shows this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class FaultSeverity(StrEnum):
    """Whether a data set with the finding can be used."""

    ERROR = "ERROR"
    WARNING = "WARNING"


class FaultCode(StrEnum):
    """The kinds of fault, in the order in which they are reported."""

    PLACE_MISSING = "place-missing"
    FORMAT_FOREIGN = "format-foreign"
    FORMAT_BROKEN = "format-broken"
    YAML_MISSING = "yaml-missing"
    YAML_SEVERAL = "yaml-several"
    YAML_UNREADABLE = "yaml-unreadable"
    YAML_SYNTAX = "yaml-syntax"
    YAML_NO_MAPPING = "yaml-no-mapping"
    YAML_KEY_TWICE = "yaml-key-twice"
    YAML_NO_NEWLINE = "yaml-no-newline"
    YAML_POSE = "yaml-pose"
    TEXT_ENCODING = "text-encoding"
    TEXT_RECODED = "text-recoded"
    NAMES_MISSING = "names-missing"
    NAMES_INVALID = "names-invalid"
    NAMES_GAP = "names-gap"
    NAMES_TWICE = "names-twice"
    NAMES_ALIKE = "names-alike"
    NAMES_NUMBER = "names-number"
    NAMES_DIFFER = "names-differ"
    NC_DIFFERS = "nc-differs"
    PATH_MISSING = "path-missing"
    SPLITS_MISSING = "splits-missing"
    SPLIT_UNNAMED = "split-unnamed"
    SPLIT_RENAMED = "split-renamed"
    SPLIT_MISSING = "split-missing"
    SPLIT_OUTSIDE = "split-outside"
    SPLIT_SHARED = "split-shared"
    SPLIT_EMPTY = "split-empty"
    SPLIT_MOVED = "split-moved"
    SPLIT_ABOVE = "split-above"
    SPLIT_ABSOLUTE = "split-absolute"
    LIST_ENTRY_MISSING = "list-entry-missing"
    LIST_ENTRY_MOVED = "list-entry-moved"
    LIST_ENTRY_TWICE = "list-entry-twice"
    FOLDER_UNREADABLE = "folder-unreadable"
    FILE_UNREADABLE = "file-unreadable"
    FILE_IRREGULAR = "file-irregular"
    FILE_POINTER = "file-pointer"
    FILE_HUGE = "file-huge"
    FILE_STRAY = "file-stray"
    FILE_UNSUPPORTED = "file-unsupported"
    FILE_NAMES_COLLIDE = "file-names-collide"
    LINK_BROKEN = "link-broken"
    LINK_LOOP = "link-loop"
    LINK_OUTSIDE = "link-outside"
    IMAGE_EMPTY = "image-empty"
    IMAGE_BROKEN = "image-broken"
    IMAGE_TRUNCATED = "image-truncated"
    IMAGE_BOMB = "image-bomb"
    IMAGE_DEEP = "image-deep"
    IMAGE_MISNAMED = "image-misnamed"
    IMAGE_MODE = "image-mode"
    IMAGE_ANIMATED = "image-animated"
    IMAGE_ROTATED = "image-rotated"
    IMAGE_HUGE = "image-huge"
    IMAGE_TINY = "image-tiny"
    IMAGES_GREY = "images-grey"
    IMAGE_TWICE = "image-twice"
    IMAGE_IN_TWO_SPLITS = "image-in-two-splits"
    IMAGE_COPY_IN_TWO = "image-copy-in-two-splits"
    IMAGE_NEARLY_TWICE = "image-nearly-twice"
    EVALUATION_IMAGE = "evaluation-image"
    EVALUATION_NEARLY = "evaluation-nearly"
    LABEL_MISSING = "label-missing"
    LABEL_ORPHAN = "label-orphan"
    LABEL_SHARED = "label-shared"
    LABEL_HOPELESS = "label-hopeless"
    CLASSES_FILE = "classes-file"
    ROW_COLUMNS = "row-columns"
    ROW_CLASS_TEXT = "row-class-text"
    ROW_CLASS_UNKNOWN = "row-class-unknown"
    ROW_CLASS_DECIMAL = "row-class-decimal"
    ROW_NUMBER = "row-number"
    ROW_NOT_FINITE = "row-not-finite"
    ROW_NEGATIVE = "row-negative"
    ROW_OUTSIDE = "row-outside"
    ROW_CLIPPED = "row-clipped"
    ROW_EMPTY = "row-empty"
    ROW_TWICE = "row-twice"
    ROW_POLYGON = "row-polygon"
    BOX_TWO_CLASSES = "box-two-classes"
    BOX_EVERYTHING = "box-everything"
    BOX_TINY = "box-tiny"
    CLASS_UNSEEN = "class-unseen"
    CLASS_RARE = "class-rare"


@dataclass(frozen=True)
class FaultRule:
    """The severity and the texts of a code.

    Attributes:
        severity: Whether the data set can still be used.
        title: Description for people.
        repair: How the loaded data are repaired; '' if they are not.
        summary: Sentence for all findings in a split, with `{count}` and `{file}`; '' if each is
            reported separately.
    """

    severity: FaultSeverity
    title: str
    repair: str = ""
    summary: str = ""


def _error(title: str) -> FaultRule:
    return FaultRule(FaultSeverity.ERROR, title)


def _warning(title: str, repair: str = "", summary: str = "") -> FaultRule:
    return FaultRule(FaultSeverity.WARNING, title, repair, summary)


RULES: Mapping[FaultCode, FaultRule] = {
    FaultCode.PLACE_MISSING: _error("the folder does not exist"),
    FaultCode.FORMAT_FOREIGN: _error("a data set in another format, or not unpacked"),
    FaultCode.FORMAT_BROKEN: _error("annotations of another format that cannot be read"),
    FaultCode.YAML_MISSING: _error("the folder has no data.yaml"),
    FaultCode.YAML_SEVERAL: _error(
        "several YAML files describe a data set, but none is called data.yaml"
    ),
    FaultCode.YAML_UNREADABLE: _error("data.yaml cannot be read"),
    FaultCode.YAML_SYNTAX: _error("data.yaml is not YAML"),
    FaultCode.YAML_NO_MAPPING: _error("data.yaml has no keys"),
    FaultCode.YAML_KEY_TWICE: _error("a key occurs twice in data.yaml"),
    FaultCode.YAML_NO_NEWLINE: _warning(
        "data.yaml does not end with a newline: it may be incomplete"
    ),
    FaultCode.YAML_POSE: _error("key points (kpt_shape), not boxes"),
    FaultCode.TEXT_ENCODING: _error("a text that is not UTF-8"),
    FaultCode.TEXT_RECODED: _warning(
        "a text with a byte order mark, or in UTF-16", "read in the encoding of the mark"
    ),
    FaultCode.NAMES_MISSING: _error("data.yaml names no class"),
    FaultCode.NAMES_INVALID: _error("names is not a list of texts"),
    FaultCode.NAMES_GAP: _error("the classes are not numbered from 0 without a gap"),
    FaultCode.NAMES_TWICE: _error("a class is named twice"),
    FaultCode.NAMES_ALIKE: _warning("two classes differ only by case, space, '-' or '_'"),
    FaultCode.NAMES_NUMBER: _warning("the name of a class is a number"),
    FaultCode.NAMES_DIFFER: _error("a class of the scenario has no match"),
    FaultCode.NC_DIFFERS: _error("nc is not the number of names"),
    FaultCode.PATH_MISSING: _error("`path` does not exist on this machine"),
    FaultCode.SPLITS_MISSING: _error("data.yaml names no train, val or test"),
    FaultCode.SPLIT_UNNAMED: _error(
        "a required split is not named (training requires train, val, test)"
    ),
    FaultCode.SPLIT_RENAMED: _warning(
        "a split has another name: valid, Train", "read as val, train"
    ),
    FaultCode.SPLIT_MISSING: _error("a split does not exist on this machine"),
    FaultCode.SPLIT_OUTSIDE: _error("a split is a folder that contains the data set"),
    FaultCode.SPLIT_SHARED: _error("two splits are the same folder"),
    FaultCode.SPLIT_EMPTY: _error("a split has no images"),
    FaultCode.SPLIT_MOVED: _warning("`../` of a well-known exporter", "read beside data.yaml"),
    FaultCode.SPLIT_ABOVE: _warning(
        "a split names the folder above images/", "the images below it are read"
    ),
    FaultCode.SPLIT_ABSOLUTE: _warning("an absolute path: it works only on this machine"),
    FaultCode.LIST_ENTRY_MISSING: _error("a list of images names a file that does not exist"),
    FaultCode.LIST_ENTRY_MOVED: _warning(
        "`data/` in front of the images of a list, as an exporter writes it", "read without it"
    ),
    FaultCode.LIST_ENTRY_TWICE: _warning("a list of images names a file twice", "it counts once"),
    FaultCode.FOLDER_UNREADABLE: _error("a folder that cannot be read"),
    FaultCode.FILE_UNREADABLE: _error("a file that cannot be read"),
    FaultCode.FILE_IRREGULAR: _error("a folder, pipe, socket or device named like a file"),
    FaultCode.FILE_POINTER: _error("a Git LFS pointer instead of the file"),
    FaultCode.FILE_HUGE: _error("a file that is too large for its kind"),
    FaultCode.FILE_STRAY: _warning(
        "a file that is not an image", "left out", "{count} files are not images, e.g. {file}"
    ),
    FaultCode.FILE_UNSUPPORTED: _warning("an image in an unsupported format", "left out"),
    FaultCode.FILE_NAMES_COLLIDE: _warning(
        "names that are the same on other systems (case, Unicode composition)"
    ),
    FaultCode.LINK_BROKEN: _error("a link to nothing"),
    FaultCode.LINK_LOOP: _warning(
        "a link to a folder that is read anyway, or that contains it", "not followed"
    ),
    FaultCode.LINK_OUTSIDE: _warning(
        "a link out of the data set: a copy of the folder will lack the file"
    ),
    FaultCode.IMAGE_EMPTY: _error("an image of 0 bytes"),
    FaultCode.IMAGE_BROKEN: _error("a file that is not an image, or a broken one"),
    FaultCode.IMAGE_TRUNCATED: _error("a truncated image"),
    FaultCode.IMAGE_BOMB: _error("an image with too many pixels; it is not decoded"),
    FaultCode.IMAGE_DEEP: _error("one channel with more than 8 bits"),
    FaultCode.IMAGE_MISNAMED: _warning("the suffix names another format", "read by its content"),
    FaultCode.IMAGE_MODE: _warning(
        "not 8-bit RGB (grey, palette, CMYK, transparency, 16 bits)", "converted to RGB"
    ),
    FaultCode.IMAGE_ANIMATED: _warning("more than one frame", "the first one is read"),
    FaultCode.IMAGE_ROTATED: _warning(
        "the EXIF tag rotates the image: labels must fit the upright image", "rotated upright"
    ),
    FaultCode.IMAGE_HUGE: _warning("a very large image: each epoch decodes it again"),
    FaultCode.IMAGE_TINY: _warning("a very small image"),
    FaultCode.IMAGES_GREY: _warning("images without colour"),
    FaultCode.IMAGE_TWICE: _warning("the same image twice in one split"),
    FaultCode.IMAGE_IN_TWO_SPLITS: _error("the same image in two splits"),
    FaultCode.IMAGE_COPY_IN_TWO: _error("an exporter's copies of one picture in two splits"),
    FaultCode.IMAGE_NEARLY_TWICE: _error("almost the same image in two splits"),
    FaultCode.EVALUATION_IMAGE: _error("a training image is in the evaluation set"),
    FaultCode.EVALUATION_NEARLY: _warning("a training image looks like one in the evaluation set"),
    FaultCode.LABEL_MISSING: _error("an image without a label file"),
    FaultCode.LABEL_ORPHAN: _error("label files without an image"),
    FaultCode.LABEL_SHARED: _error("two images with one label file"),
    FaultCode.LABEL_HOPELESS: _error("a label file with too many wrong rows to list"),
    FaultCode.CLASSES_FILE: _warning("classes.txt beside the labels names other classes"),
    FaultCode.ROW_COLUMNS: _error("a row that is neither a box nor a polygon"),
    FaultCode.ROW_CLASS_TEXT: _error("a class id that is not a whole number"),
    FaultCode.ROW_CLASS_UNKNOWN: _error("a class id without a name"),
    FaultCode.ROW_CLASS_DECIMAL: _warning("a class id written as 1.0", "read as the whole number"),
    FaultCode.ROW_NUMBER: _error("a coordinate that is not a number"),
    FaultCode.ROW_NOT_FINITE: _error("a coordinate that is infinite or nan"),
    FaultCode.ROW_NEGATIVE: _error("a box of negative size"),
    FaultCode.ROW_OUTSIDE: _error("a box that is partly outside the image"),
    FaultCode.ROW_CLIPPED: _warning(
        "a box that crosses the border by a rounding error",
        "clipped at the border",
        "{count} boxes cross the border by a rounding error and are clipped",
    ),
    FaultCode.ROW_EMPTY: _warning(
        "a box without area", "left out", "{count} boxes have no area and are left out"
    ),
    FaultCode.ROW_TWICE: _warning(
        "a repeated row",
        "it counts once",
        "{count} label rows are repeated and count once",
    ),
    FaultCode.ROW_POLYGON: _warning(
        "a polygon",
        "its bounding box is read",
        "{count} label rows are polygons and are read as their bounding boxes",
    ),
    FaultCode.BOX_TWO_CLASSES: _warning("the same box with two classes"),
    FaultCode.BOX_EVERYTHING: _warning(
        "a box around the whole image", "", "{count} boxes are as large as the image, e.g. {file}"
    ),
    FaultCode.BOX_TINY: _warning(
        "a box thinner than 2 pixels", "", "{count} boxes are thinner than 2 pixels, e.g. {file}"
    ),
    FaultCode.CLASS_UNSEEN: _warning("a class without a box in a split"),
    FaultCode.CLASS_RARE: _warning("a class with fewer than 10 boxes to learn from"),
}

ALIKE = (FaultCode.IMAGE_COPY_IN_TWO, FaultCode.IMAGE_NEARLY_TWICE)
"""One picture in two splits, as different bytes. Only training refuses such data: models that were
trained before this was an error can still be measured and promoted."""
MIXED = (FaultCode.IMAGE_IN_TWO_SPLITS, *ALIKE)
"""What `guardianflow dataset split` repairs by bringing the images into one split."""
