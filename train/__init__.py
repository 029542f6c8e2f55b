"""Training scripts: ``python -m train.quickstart``, ``train.planner``, ``train.gan``; ``train.evaluate``."""
