"""Networks of instances: spaces that cannot see each other, whose every packet passes a filter of their own."""
