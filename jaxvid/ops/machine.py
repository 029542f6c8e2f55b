"""Programs for the CPU's vector units, built for the very CPU that runs them, called from XLA.

For the few loops that XLA's CPU compiler makes badly. A program is written with ``Code`` and its
``Value``s in Python, compiled by LLVM (llvmlite) when it is first needed, in a fraction of a second
and without a C compiler, and called through XLA's foreign-function interface (``jax.ffi``; the
layout of its structures is that of ``xla/ffi/api/c_api.h``, version 0.3), on XLA's own threads.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxvid.ops.machine_code import Code, Value

_BROKEN = "is not installed; pip install llvmlite"
try:
    from llvmlite import binding, ir
except ImportError:  # a platform without it; callers ask ``refusal`` first
    ir = None
except OSError as error:
    ir, _BROKEN = None, f"cannot be loaded: {error}"

LINE = 16  # floats of a cache line
MANY = 16  # vectors of a row: from so many on three are taken at once, even if some are left over


@functools.cache
def refusal() -> str | None:
    """Why nothing can be built here, or None."""
    if ir is None:
        return f"needs llvmlite, which {_BROKEN}"
    posix = os.name == "posix" and hasattr(ctypes.CDLL(None), "sched_yield")
    if not posix or ctypes.sizeof(ctypes.c_void_p) != 8:
        return "needs a 64-bit POSIX system"
    return None


def _target() -> Any:
    """This CPU, for the compiler; the engine takes possession of the one it is made with."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    if wide():
        features["prefer-256-bit"] = False  # the vectors stay as wide as they are written
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=2, jit=True
    )


@functools.cache
def wide() -> bool:
    """Whether vectors have 16 floats here, and not 8."""
    return bool(binding.get_host_cpu_features().get("avx512f", False))


@functools.cache
def rounds() -> bool:
    """Whether this CPU multiplies bfloat16 itself, or nobody can tell."""
    features = binding.get_host_cpu_features() if ir is not None else {}
    known = [features[name] for name in ("avx512bf16", "amx-bf16", "bf16") if name in features]
    return any(known) or not known


class Program:
    """Functions that are compiled together; ``lanes`` floats make a vector."""

    def __init__(self, name: str, lanes: int) -> None:
        self.name, self.lanes = name, lanes
        self.tall = 8 if wide() else 4  # rows of a block of sums that stay in registers
        self.pointer, self.number, self.real = ir.PointerType(), ir.IntType(64), ir.FloatType()
        self.vector = ir.VectorType(ir.FloatType(), self.lanes)
        self.integer = ir.IntType(32)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self.module = ir.Module(name)
        self.module.triple = binding.get_default_triple()
        self.module.data_layout = str(_target().target_data)

    def function(
        self, name: str, kinds: Sequence[Any], result: Any = None, seen: bool = False
    ) -> Code:
        """A function to be written, of this program alone unless ``seen`` from outside."""
        function = ir.Function(
            self.module, ir.FunctionType(result or ir.VoidType(), kinds), f"{self.name}_{name}"
        )
        function.linkage = "external" if seen else "internal"
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias") if not seen else None
        return Code(self, function)

    def external(self, name: str, result: Any, kinds: Sequence[Any]) -> Any:
        """A function of the C library, or LLVM's own."""
        if name in self.module.globals:
            return self.module.globals[name]
        return ir.Function(self.module, ir.FunctionType(result, kinds), name)

    def compiled(self) -> bytes:
        """Machine code, as an object file. More optimisation takes twice as long and gains nothing:
        what is worth unrolling is written unrolled."""
        module = binding.parse_assembly(str(self.module))
        module.verify()
        target = _target()
        tuning = binding.create_pipeline_tuning_options(speed_level=2)
        tuning.loop_unrolling = tuning.slp_vectorization = False
        builder = binding.create_pass_builder(target, tuning)
        builder.getModulePassManager().run(module, builder)
        return bytes(target.emit_object(module))


def product(
    program: Program, name: str, a: tuple[int, int], b: int, c: int, columns: int,
    add: bool = False, packed: bool = False,
) -> Any:  # fmt: skip
    """A function of addresses (A, B, C) and numbers (rows, inner): C = A B, or C += A B.

    ``a``: floats from a row and from a column of A to the next; ``b``, ``c``: from a row of B and
    of C to the next. C has ``columns``, a multiple of a vector's, and a multiple of ``tall`` rows;
    sums of so many rows and up to three vectors stay in registers. ``packed``: a last address has
    room for 3 ``inner`` vectors, where columns of B are put side by side before they are used:
    rows a power of two apart fall into the same lines of the cache, and drive each other out.
    """
    pointer, number, W = program.pointer, program.number, program.lanes
    code = program.function(name, [pointer, pointer, pointer, number, number, *[pointer] * packed])
    A, B, C, rows, inner, *panel = code.arguments

    def block(i: Value, j: Value, side: Value, apart: int, across: int) -> None:
        top, corner = code.at(A, i * a[0]), code.at(C, i * c + j)
        cells = [(r, x * W) for r in range(program.tall) for x in range(across)]

        def more(t: Value, sums: list[Value]) -> list[Value]:
            row = {x: code.vector(side, t * apart + x) for _, x in cells[:across]}
            column = [code.spread(code.load(top, t * a[1] + r * a[0])) for r in range(program.tall)]
            return [code.fma(column[r], row[x], s) for (r, x), s in zip(cells, sums, strict=True)]

        zero = code.spread(0.0)
        sums = [code.vector(corner, r * c + x) if add else zero for r, x in cells]
        for (r, x), s in zip(cells, code.fold(inner, more, sums), strict=True):
            code.store(s, corner, r * c + x)

    def vectors(j: Value, across: int) -> None:
        side, apart = (panel[0], across * W) if packed else (code.at(B, j), b)

        def pack(t: Value) -> None:
            for x in range(0, apart, W):
                code.store(code.vector(B, t * b + j + x), side, t * apart + x)

        if packed:
            code.each(inner, pack)
        code.each(rows, lambda i: block(i, j, side, apart, across), step=program.tall)

    start = 0
    for across in (3, 2, 1):
        stop = columns - (columns - start) % (across * W)
        if start < stop == columns or (across == 3 and columns >= MANY * W):
            code.each(stop, functools.partial(vectors, across=across), start, step=across * W)
            start = stop
    code.give()
    return code.function


# XLA's side

# Bytes of the structures of the interface
EXTENSION, API, CONTEXT, ARGUMENTS, RESULTS = 8, 16, 24, 72, 112  # of a call
DATA, DIMENSIONS = 24, 40  # of a buffer
DESTROY, SCHEDULE, THREADS = 64, 136, 144  # of the table of functions
VERSION = (0, 3)
# Bytes of a job: the next item, items not yet done, threads that know it, items; then what it is of
NEXT, LEFT, USERS, ITEMS, OPERANDS = 0, 8, 16, 24, 32


def handler(
    program: Program,
    item: Any,
    operands: int,
    results: int,
    sizes: Sequence[tuple[int, int]],
    items: Callable[[Code, list[Value]], Value],
    scratch: int,
) -> None:
    """Writes what XLA calls: ``item(job, i, scratch)`` for every i, on all of XLA's threads.

    A job's operands are 64-bit words from OPERANDS on: the addresses of operands and results, then
    the ``sizes``, pairs (operand, axis), of which ``items`` makes the number of items. Each thread
    has ``scratch`` floats of its own. A thread that comes late finds no item; the last one to leave
    frees the job, so the call never waits for a thread that has not begun.
    """
    pointer, number = program.pointer, program.number
    malloc = program.external("malloc", pointer, [number])
    free = program.external("free", ir.VoidType(), [pointer])
    rest = program.external("sched_yield", ir.IntType(32), [])

    work = program.function("work", [pointer])
    (job,) = work.arguments
    with work.when(work.word(job, NEXT) < work.word(job, ITEMS)):
        whole = work.call(malloc, 4 * scratch + 4 * LINE)
        away = Value(work, work.builder.ptrtoint(whole.raw, number))
        start = work.at(whole, (work.whole(4 * LINE) - away % (4 * LINE)) // 4)
        _until_taken(work, job, lambda i: work.call(item, job, i, start))
        work.call(free, whole)
    _leave(work, job, free)
    work.give()

    code = program.function("call", [pointer], pointer, seen=True)
    (frame,) = code.arguments
    null = Value(code, ir.Constant(pointer, None))
    extension = code.word(frame, EXTENSION, pointer)
    with code.when(Value(code, code.builder.icmp_unsigned("!=", extension.raw, null.raw))):
        about = code.word(extension, 24, pointer)  # XLA asks what this is
        for byte, part in zip((24, 28), VERSION, strict=True):
            code.builder.store(ir.Constant(ir.IntType(32), part), code.at(about, byte // 4).raw)
        code.give(null)
    job = code.call(malloc, OPERANDS + 8 * (operands + results + len(sizes)))
    given = [
        code.word(code.word(frame, where, pointer), 8 * i, pointer)
        for where, n in ((ARGUMENTS, operands), (RESULTS, results))
        for i in range(n)
    ]
    words = [code.word(x, DATA, pointer) for x in given]
    words += [code.word(code.word(given[i], DIMENSIONS, pointer), 8 * axis) for i, axis in sizes]
    for i, word in enumerate(words):
        code.set_word(word, job, OPERANDS + 8 * i)
    n = items(code, words[operands + results :])
    for byte, x in ((LEFT, n), (ITEMS, n), (NEXT, code.whole(0)), (USERS, code.whole(2))):
        code.set_word(x, job, byte)
    _schedule(code, frame, job, n, work.function)
    code.call(work.function, job)
    code.repeat(lambda: code.whole(0) < code.counted(job, LEFT, 0), lambda: code.call(rest))
    _leave(code, job, free)
    code.give(null)


def _until_taken(code: Code, job: Value, body: Callable[[Value], Any]) -> None:
    """``body(i)`` with the next item until none is left."""
    taken: list[Value] = []

    def more() -> Value:
        taken.append(code.counted(job, NEXT, 1))
        return taken[-1] < code.word(job, ITEMS)

    def once() -> None:
        body(taken[-1])
        code.counted(job, LEFT, -1)

    code.repeat(more, once)


def _leave(code: Code, job: Value, free: Any) -> None:
    with code.when(code.counted(job, USERS, -1) < 2):
        code.call(free, job)


def _schedule(code: Code, frame: Value, job: Value, items: Value, work: Any) -> None:
    """Asks XLA's other threads to join, as many as there are items for."""
    pointer, table = code.program.pointer, code.word(frame, API, code.program.pointer)
    context = code.word(frame, CONTEXT, pointer)
    signature = ir.FunctionType(pointer, [pointer])

    def ask(byte: int, *words: Value) -> Value:
        """A function of the interface, with a structure of its size, no extension and ``words``."""
        arguments = code.words(2 + len(words))
        start = (code.whole(16 + 8 * len(words)), code.whole(0))
        for i, x in enumerate((*start, *words)):
            code.set_word(x, arguments, 8 * i)
        function = code.word(table, byte, signature.as_pointer())
        return Value(code, code.builder.call(function.raw, [arguments.raw]))

    threads = code.words(1)
    code.set_word(code.whole(1), threads, 0)
    ask(THREADS, context, threads)
    others = code.least(code.word(threads, 0), items) - 1

    def one(_: Value) -> None:
        code.counted(job, USERS, 1)
        error = ask(SCHEDULE, context, Value(code, work), job)
        refused = code.builder.icmp_unsigned("!=", error.raw, ir.Constant(pointer, None))
        with code.when(Value(code, refused)):
            code.counted(job, USERS, -1)
            ask(DESTROY, error)

    code.each(others, one)


_BUILT: set[str] = set()
_BUILDING = threading.Lock()


def register(name: str, build: Callable[[Program], None], multiple: int = 16) -> str:
    """The name under which ``jax.ffi.ffi_call`` finds the program that ``build`` writes.

    ``multiple``: of what its vectors' lanes are a divisor. Where JAX keeps compiled programs, these
    are kept too, in its folder's ``machine``.
    """
    with _BUILDING:
        if name not in _BUILT:

            def made() -> bytes:
                program = Program(name, 16 if wide() and multiple % 16 == 0 else 8)
                build(program)
                return program.compiled()

            code, engine = _kept(name, made), _engine()
            engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
            engine.finalize_object()
            call = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
                engine.get_function_address(f"{name}_call")
            )
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(call), platform="cpu")
            _BUILT.add(name)
    return name


@functools.cache
def _engine() -> Any:
    """Holds all machine code, for as long as the process lives."""
    return binding.create_mcjit_compiler(binding.parse_assembly(""), _target())


def _kept(name: str, make: Callable[[], bytes]) -> bytes:
    """The object file from JAX's cache, or made and put there. What is damaged is made again."""
    folder: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if not folder or "://" in folder:
        return make()
    path = pathlib.Path(folder) / "machine" / f"{name}-{_version()}"
    with contextlib.suppress(OSError):
        digest, code = (whole := path.read_bytes())[:32], whole[32:]
        if hashlib.sha256(code).digest() == digest:
            return code
    code = make()
    with contextlib.suppress(OSError):  # a full disk or one that cannot be written costs only time
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_bytes(hashlib.sha256(code).digest() + code)
        part.replace(path)
    return code


@functools.cache
def _version() -> str:
    """Changes with the CPU, with LLVM and with what is written here."""
    found = hashlib.sha256(repr(binding.get_host_cpu_features().flatten()).encode())
    found.update(repr((binding.get_host_cpu_name(), binding.llvm_version_info, wide())).encode())
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
