"""Decodes audio files of any common container, and compares what their headers promise with what they hold."""
