"""Tests the JSON Schema from which editors complete a recipe's keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from marathon_eval.corpus.build.recipe import Recipe, recipe_schema, shipped_recipes

SHIPPED = sorted(shipped_recipes().glob("*.yaml"))


def test_the_shipped_schema_is_made_from_the_config() -> None:
    kept = json.loads((shipped_recipes().parent / "recipe_schema.json").read_text())
    assert kept == recipe_schema(), "run scripts/dev/golden/update_goldens.py schema"


def test_it_knows_every_key_and_refuses_others() -> None:
    schema = recipe_schema()
    assert set(schema["properties"]) == {"include", *Recipe.model_fields}
    assert schema["additionalProperties"] is False
    assert all(
        part["additionalProperties"] is False for part in schema["$defs"].values() if "properties" in part
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_uses_only_its_keys(path: Path) -> None:
    schema = recipe_schema()

    def known(value: Any, part: dict[str, Any]) -> None:
        for option in part.get("anyOf", []):
            if "$ref" in option and isinstance(value, dict):
                known(value, option)
        if "$ref" in part:
            known(value, schema["$defs"][part["$ref"].rpartition("/")[2]])
        elif isinstance(value, dict) and "properties" in part:
            assert set(value) <= set(part["properties"])
            for key, inner in value.items():
                known(inner, part["properties"][key])

    known(yaml.safe_load(path.read_text()), schema)
