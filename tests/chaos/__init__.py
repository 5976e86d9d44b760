"""Kill the service again and again while it works, and count what was orphaned, lost or interrupted."""
