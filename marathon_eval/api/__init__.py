"""The types that a plug-in author imports: audio, models, presses."""
