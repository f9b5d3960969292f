"""The architectures, one file each; every file has `build(*, rngs)`."""
