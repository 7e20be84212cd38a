"""Long audio built from source corpora, and checked: recipes, one pure step per file, a manifest of every second."""
