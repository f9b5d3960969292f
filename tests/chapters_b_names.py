"""The chapters that are not one model, second half."""

CHAPTERS_B = ("datasets", "tensorboard", "devices", "save_load")
