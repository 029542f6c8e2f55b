"""Training scripts, ``python -m train.NAME``: quickstart, planner, gan, evaluate."""
