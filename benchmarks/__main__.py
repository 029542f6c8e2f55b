"""All benchmarks that need no trained run, in one table: ``python -m benchmarks``."""

from benchmarks import attention, harness

BENCHMARKS = {"attention": attention.rows}

if __name__ == "__main__":
    harness.main(BENCHMARKS, name="all")
