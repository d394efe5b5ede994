"""A small data set of drawn scenes, for tests of trainings."""

from guardianflow.scenario import SyntheticData
from guardianflow.vision.data.dataset import open_dataset
from guardianflow.vision.synthetic import draw_dataset

CLASSES = ("person", "helmet")


def drawn(folder, *, size, train, val):
    """It, with so many images of so many pixels."""
    settings = SyntheticData(
        kind="synthetic", image_size=size, train_images=train, val_images=val, test_images=2
    )
    draw_dataset(folder, settings, CLASSES)
    return open_dataset(folder, CLASSES)
