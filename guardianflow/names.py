"""Names of models, classes and metrics, and the names that MLflow has for them.

    public      donghwa-entec/busan-plant1/welding/ppe__openvino_int8
    registered  donghwa-entec.busan-plant1.welding.ppe__openvino_int8

MLflow refuses `/` and `:` in registered model names, so `/` becomes `.`; the reverse is unambiguous
because no segment may contain a dot. Class names come from users: any printable text.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace

from guardianflow.errors import NameInvalid

SEGMENT = r"[a-z0-9]+(?:-[a-z0-9]+)*"
MAX_LENGTH = 200
_METRIC_KEY_LENGTH = 250
_WORD = r"[a-z0-9]+"
_PUBLIC = re.compile(
    rf"(?P<customer>{SEGMENT})/(?P<site>{SEGMENT})/(?P<zone>{SEGMENT})/(?P<task>{SEGMENT})"
    rf"(?:__(?P<backend>{_WORD})_(?P<precision>{_WORD}))?"
)
_REMEDY = (
    "A name is customer/region-plant/zone/task, for a variant followed by __backend_precision, in "
    "lower-case letters, digits and single hyphens, e.g. donghwa-entec/busan-plant1/welding/ppe."
)


@dataclass(frozen=True, order=True)
class ModelName:
    """The name of a model or of one of its variants; `ModelName.parse` checks every segment."""

    customer: str
    site: str
    zone: str
    task: str
    backend: str | None = None
    precision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Read a public name (slashes) or a registered name (dots).

        Raises:
            NameInvalid: The text is not such a name; the message says what is expected.
        """
        if len(text) > MAX_LENGTH:
            raise NameInvalid(
                f"The model name {text[:40]!r}... has {len(text)} characters, more than "
                f"{MAX_LENGTH}.",
                remedy="Shorten customer, site, zone or task.",
                value=text,
            )
        public = text if "/" in text else text.replace(".", "/")
        match = _PUBLIC.fullmatch(public)
        if match is None:
            raise NameInvalid(f"{text!r} is not a model name.", remedy=_REMEDY, value=text)
        return cls(**match.groupdict())

    @property
    def public(self) -> str:
        """The name that people see: `customer/site/zone/task[__backend_precision]`."""
        base = f"{self.customer}/{self.site}/{self.zone}/{self.task}"
        return base if self.backend is None else f"{base}__{self.backend}_{self.precision}"

    @property
    def registered(self) -> str:
        """The name of the model in MLflow."""
        return self.public.replace("/", ".")

    @property
    def base(self) -> "ModelName":
        """The FP32 model of this variant, or the name itself."""
        return self if self.backend is None else replace(self, backend=None, precision=None)

    @property
    def is_variant(self) -> bool:
        """Whether the name has a backend and a precision."""
        return self.backend is not None

    def variant(self, flavour: str) -> "ModelName":
        """Return the variant of this base for a flavour such as `openvino_int8`.

        Raises:
            NameInvalid: The flavour is not `backend_precision`.
        """
        return ModelName.parse(f"{self.base.public}__{flavour}")

    def short(self, name: str) -> str:
        """Return the part after the base of a public name of this release; "" for the base."""
        return name.removeprefix(self.base.public).removeprefix("__")

    def long(self, short: str) -> str:
        """Return the public name of which `short` returned a part."""
        return f"{self.base.public}__{short}" if short else self.base.public

    def tags(self) -> dict[str, str]:
        """Return the tags of the registered model; listings filter by them."""
        parts = {
            "name": self.public,
            "customer": self.customer,
            "site": self.site,
            "zone": self.zone,
            "task": self.task,
            "backend": self.backend or "",
            "precision": self.precision or "",
        }
        return {f"guardianflow.{key}": value for key, value in parts.items() if value}

    def __str__(self) -> str:
        return self.public


def class_key(name: str) -> str:
    """Return a key that spellings of a class share: case, spaces, `-` and `_` do not count."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFKC", name).strip().casefold())


def metric_key(metric: str) -> str:
    """Return the key of a metric in MLflow, e.g. of `recall.Safety Vest (yellow)`.

    MLflow allows letters of all scripts, digits, `_ - . :`, spaces and slashes, but treats slashes
    as paths. Every other character is written as its code point, so that no two classes share a
    key; so is the first dot of `.` and `..`. A key that is too long ends in a digest.
    """
    key = re.sub(r"[^\w.\- ]|^\.(?=\.|$)", lambda sign: f":{ord(sign[0]):x}:", metric)
    if len(key) <= _METRIC_KEY_LENGTH:
        return key
    digest = hashlib.sha256(metric.encode()).hexdigest()[:32]
    return f"{key[: _METRIC_KEY_LENGTH - 33]}-{digest}"
