"""The forms in which guests' programs ask for metadata, one module each: pure functions from what is to be told."""
