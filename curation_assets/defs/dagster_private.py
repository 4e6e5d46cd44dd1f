"""What Dagster has no public name for, in one place.

A check's verdict names the materialization that it is about: by that the UI tells whether a check was evaluated since the
asset changed. Dagster fills it in for checks that it runs itself, and exports no name of its class (1.13).
"""

from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as TargetMaterialization,
)

__all__ = ["TargetMaterialization"]
