"""The web panel: pages that the server makes, under `/panel/`. A page works without scripts; scripts make it live."""
