"""Recipes: how images are made here from a distribution's signed packages.

`files/` holds what goes into the guests: `initrd` (before the root disk), `shared` (every image), then one folder per
image whose tree is laid over the guest's root.
"""
