"""The parts of scripts/demo/make_mini: where sound comes from, how clips are made, what each task's folder looks like."""
