"""Says which extra of guardianflow brings a package that is not installed."""

from guardianflow.errors import PackageMissing

EXTRA_OF = {
    "PIL": "train",
    "faster_coco_eval": "train",
    "imagehash": "train",
    "matplotlib": "train",
    "nncf": "train",
    "openvino": "train",
    "pandas": "train",
    "scipy": "train",
    "torch": "train",
    "prefect": "flows",
    "pyotp": "flows",
    "segno": "flows",
}
"""Each package that is imported only where it is needed, and the extra that installs it."""


def package_missing(error: ModuleNotFoundError) -> PackageMissing | None:
    """The error as one sentence with the command that helps; None for a defect of ours."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return None
    return PackageMissing(
        f"This needs the package {package!r}, which is not installed.",
        remedy=f"Run: pip install 'guardianflow[{extra}]'",
        package=package,
        extra=extra,
    )
