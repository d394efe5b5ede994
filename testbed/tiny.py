"""A scenario that trains in seconds: real parts, figures of no use."""

from blocks import MlflowCredentials, ScenarioConfig
from guardianflow.scenario import ScenarioSpec

CLASSES = ["person", "helmet"]


def tiny_spec(plant: str) -> ScenarioSpec:
    """Two versions that differ in their seed; nothing is asked of their quality."""
    return ScenarioSpec.from_mapping(
        f"tiny-{plant}",
        {
            "customer": "test",
            "region": "lab",
            "plant": plant,
            "zone": "bench",
            "task": "ppe",
            "classes": CLASSES,
            "dataset": {
                "kind": "synthetic",
                "image_size": 64,
                "train_images": 8,
                "val_images": 2,
                "test_images": 4,
            },
            "training": {"image_size": 64, "width": 4, "epochs": 1, "batch_size": 4},
            "quantization": {"calibration_images": 4, "preset": "mixed"},
            "gate": {"min_map50": 0.0, "max_regression": 1.0, "min_speedup": 0},
            "health": {
                "min_map50": 0.9,
                "min_images": 1,
                "min_objects": 1,
                "consecutive": 1,
                "rules": [{"metric": "detections_per_frame", "at_least": 0.5}],
            },
            "versions": {"v1": {}, "v2": {"training": {"seed": 1}}},
        },
    )


def save_scenario(plant: str, credentials: MlflowCredentials) -> ScenarioSpec:
    """Save the tiny scenario as a block of its name."""
    spec = tiny_spec(plant)
    block = ScenarioConfig(**spec.model_dump(mode="json"), credentials=credentials)
    block.save(spec.name, overwrite=True)
    return spec
