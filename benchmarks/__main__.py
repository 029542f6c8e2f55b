"""All benchmarks that need no trained run, in one table: ``python -m benchmarks``."""

from benchmarks import attention, generate, harness, loader, startup

BENCHMARKS = {
    "attention": attention.rows,
    "generate": generate.rows,
    "loader": loader.rows,
    "startup": startup.rows,
}

if __name__ == "__main__":
    harness.main(BENCHMARKS, name="all")
