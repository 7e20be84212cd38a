"""Reads task YAML files and defines their keys, with types and defaults."""
