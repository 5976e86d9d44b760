"""The packet filter of a space: compiled from what is wanted, told to the kernel as differences."""
