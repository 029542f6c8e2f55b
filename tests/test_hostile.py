"""Laws of bad input: one line that names it, or the right value; whatever it holds."""

import ast
import json
import os
import pathlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import jaxvid
import train.gan
import train.planner
import train.rl
from jaxvid import assets, cli, config, training, training_planner
from jaxvid.config import DataConfig
from jaxvid.data import decode, sidecar, tokenizer
from jaxvid.data.source import open_source
from jaxvid.io.media import write_video
from jaxvid.io.weights import CONFIG, read_weights, write_weights
from jaxvid.script import Actor, Entity, Scene, Script, Shot, from_json, to_json
from jaxvid.typing import UserError

few = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(
    st.sampled_from("ab .,/\\\0\n\r\t\"'{}é\u0301\u202eש中👩\ud800\udfff\ufeff\x1b"), max_size=9
)
NASTY = st.sampled_from(
    ["", "\0", "../x.mp4", "/etc/passwd", "C:\\x.mp4", "\ud800", "\u202ea.mp4", "a.mp4", "e\u0301",
     "👩‍🚀", "x" * 5000, 10**400, 1e308, -0.0, float("nan"), float("inf"), None, True, [], {}]
)  # fmt: skip
JSON = st.recursive(
    NASTY | TEXT | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def one_line(error: BaseException, limit: int = 900) -> str:
    text = str(error)
    assert "\n" not in text and len(text) < limit, text[:2000]
    return text


# --- captions ----------------------------------------------------------------------------------

KEYS = st.sampled_from(["file", "caption", "text", "file_name", "group", "class", ""]) | TEXT
ROWS = st.lists(st.dictionaries(KEYS, NASTY | TEXT | st.integers(), max_size=6), max_size=4)


def listed(tmp_path, name, data):
    """What a sidecar of these bytes says of a clip, or the line that refuses it."""
    for old in sidecar.NAMES:
        (tmp_path / old).unlink(missing_ok=True)
    (tmp_path / name).write_bytes(data)
    try:
        (entry,) = sidecar.read(tmp_path, ["a.mp4"]).values()
    except UserError as error:
        assert str(tmp_path / name) in one_line(error, 1500)
        return None
    for text in (entry.caption, entry.group, *entry.labels, *entry.labels.values()):
        text.encode("utf-8")
    assert len(entry.caption) <= sidecar.MAX_CHARACTERS
    tokenizer.encode(entry.caption, 16)
    return entry


@few
@given(rows=ROWS)
def test_rows_of_anything(tmp_path, rows) -> None:
    listed(tmp_path, "captions.jsonl", "\n".join(map(json.dumps, rows)).encode())


@few
@given(name=st.sampled_from(sidecar.NAMES), data=st.binary(max_size=300), row=st.booleans())
def test_bytes_of_anything(tmp_path, name, data, row) -> None:
    head = b"file,caption\n" if name.endswith("csv") else b'{"file": "a.mp4", "caption": "x"}\n'
    listed(tmp_path, name, head * row + data)


@pytest.mark.parametrize(
    ("name", "data", "caption"),
    [
        ("captions.jsonl", rb'{"file": "a.mp4", "caption": "x\ud800y"}', "x?y"),
        ("captions.jsonl", b'{"file": "a.mp4", "caption": "x", "caption": "y"}', "y"),
        ("captions.jsonl", b'{"file": "a.mp4", "caption": "\xff\xfe"}', "\ufffd\ufffd"),
        ("captions.jsonl", '{"file": "a.mp4", "caption": "\u202eשלום"}'.encode(), "\u202eשלום"),
        ("captions.jsonl", b'{"file": "a.mp4", "caption": "x", "n": ' + b"9" * 5000 + b"}", None),
        ("captions.jsonl", b'{"a":' * 100_000, None),
        ("captions.csv", b"file,caption" + b",x" * 100_000 + b"\na.mp4,hello" + b",1" * 100_000,
         "hello"),
        ("captions.csv", b"file,caption\na.mp4,x\0y", "x\0y"),
        ("captions.csv", b"\0\0\0", "a"),
        ("captions.csv", b'file,caption\na.mp4,"never closed', "never closed"),
    ],
)  # fmt: skip
def test_strange_sidecars(tmp_path, name, data, caption) -> None:
    entry = listed(tmp_path, name, data)
    assert (entry and entry.caption) == caption


def test_names_and_captions_of_anything_are_prepared_and_nothing_is_written_elsewhere(
    tmp_path, caplog
) -> None:
    root, cache = tmp_path / "in" / "set", tmp_path / "cache"
    root.mkdir(parents=True)
    names = ["\u202ertl", "\x1b[31mred", "new\nline", "-rf", "e\u0301", "$(touch x)", ".. .."]
    names += [os.fsdecode(b"caf\xe9"), "'; drop", "x" * 200, "%s%n", "a\\b"]
    video = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    write_video(tmp_path / "a.webp", video, fps=8)
    for name in names:
        (root / f"{name}.webp").write_bytes((tmp_path / "a.webp").read_bytes())
        (root / f"{name}.txt").write_bytes(b"\0\xff \xe2\x80\xae" + b"x" * 1_000_000)
    (root / "out.webp").symlink_to(tmp_path / "nothing")
    (tmp_path / "in" / "outside.webp").write_bytes(b"x")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    data = DataConfig(f"folder:{root}", resolution=16, frames=2, text_length=64)
    source = open_source(data, split="train", cache_dir=cache)
    assert 1 <= len(source) < len(names) and (source[0].video == video).all()
    assert len(source[0].caption) <= sidecar.MAX_CHARACTERS
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    new = {path for path in after if after[path] != before.get(path)}
    assert new and all(path.is_relative_to(cache) for path in new)
    assert all(str(path).isascii() for path in cache.rglob("*"))


# --- documents ---------------------------------------------------------------------------------

STAR = Actor("e0", "right", (0.3, 0.4, 0.28, 0.28), (0.5, 0.4, 0.28, 0.28))
STORY = Script(
    (Entity("e0", "star", "yellow", "small"),),
    (Scene("dark_grid", (Shot(4, (STAR,), narration="A star."),)),),
    prompt="a star",
)
PLACES = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def damage(document, places, value):
    """The document with ``value`` somewhere in it: keys and items are chosen by ``places``."""
    whole = at = json.loads(document)
    for n, place in enumerate(places):
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = keys[place % len(keys)]
        if n + 1 == len(places) or not isinstance(at[key], dict | list):
            at[key] = value
            break
        at = at[key]
    return json.dumps(whole)


@few
@given(places=PLACES, value=JSON)
def test_scripts_with_anything_in_them(places, value) -> None:
    text = damage(to_json(STORY), places, value)
    try:
        script = from_json(text)
    except UserError as error:
        assert one_line(error).startswith("script: ")
    else:
        assert from_json(to_json(script)) == script


@few
@given(kind=st.sampled_from([config.GanRun, config.PlannerRun, config.RlRun]), places=PLACES,
       value=JSON | st.sampled_from([0, -1, 2**31, 2**53, 10**9, 0.5]))  # fmt: skip
def test_configurations_with_anything_in_them(tmp_path, kind, places, value) -> None:
    path = tmp_path / "config.json"
    path.write_text(damage(config.to_json(kind()), places[:2], value), "utf-8")
    try:
        run = config.read(kind, path)
    except UserError as error:
        assert str(path) in one_line(error)
        return
    assert config.from_json(kind, config.to_json(run)) == run
    if kind is config.GanRun:  # what is accepted is small enough to be looked at
        assert 3 * run.data.frames * run.data.resolution**2 <= config.LARGEST
        assert max(run.generator.layers, run.critic.clip_layers) <= config.DEEPEST


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[" * 200_000, b"null", b"{}x", b'{"data": 3}', None,
     b'{"generator": {"width": 2147483647, "heads": 4}}', b'{"data": {"frames": 1000000000}}'],
)  # fmt: skip
def test_run_folders_with_such_a_configuration(tmp_path, data, capsys) -> None:
    for part in ("gan", "planner"):
        (tmp_path / part).mkdir()
        path = tmp_path / part / "config.json"
        path.mkdir() if data is None else path.write_bytes(data)
    load_planner = training_planner.load_planner
    for load in (training.load_gan, load_planner):
        if data != b"{}x" and load is load_planner and data and b"generator" in data:
            continue
        with pytest.raises(UserError) as caught:
            load(tmp_path / ("gan" if load is training.load_gan else "planner"))
        one_line(caught.value)
    with pytest.raises(SystemExit) as stopped:
        train.gan.main(["--run", str(tmp_path)])
    assert stopped.value.code == 2 and "Traceback" not in capsys.readouterr().err


# --- weights -----------------------------------------------------------------------------------


def weights(header, body=b"\0" * 64, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
META = {"__metadata__": {CONFIG: "{}"}}


@pytest.mark.parametrize(
    "data",
    [
        weights(META | {"a": ENTRY}, length=2**63),
        weights(META | {"a": ENTRY}, length=10**8),
        weights(b"{" * 5000),
        weights(META | {"a": ENTRY, "b": ENTRY}),  # over each other
        weights(META | {"a": ENTRY | {"shape": [2**62, 4]}}),
        weights(META | {"a": ENTRY | {"shape": [-4]}}),
        weights(META | {"a": ENTRY | {"data_offsets": [0, 2**60]}}),
        weights(META | {"a": ENTRY | {"dtype": "I32"}}, b"\0" * 16),
        weights(META | {"a": ENTRY | {"dtype": "BF16", "shape": [8]}}, b"\0" * 16),
        weights(META | {"a": ENTRY | {"dtype": "F99"}}, b"\0" * 16),
        weights(META | {"a": ENTRY}, struct.pack("<4f", 1, float("nan"), 2, 3)),
        weights(META | {"a": ENTRY}, struct.pack("<4f", 1, float("inf"), 2, 3)),
        weights({"__metadata__": {CONFIG: 3}, "a": ENTRY}, b"\0" * 16),
        b"\x80\x04\x95" + b"pickle" * 20,
    ],
)
def test_hostile_weights_are_refused(tmp_path, data) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_weights(path)
    assert str(path) in one_line(caught.value)


@few
@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
       end=st.integers(0, 400))  # fmt: skip
def test_damaged_weights_are_refused_or_finite(tmp_path, places, end) -> None:
    path = write_weights(tmp_path / "a.safetensors", {"a": {"b": np.ones((3, 4))}}, config="{}")
    data = bytearray(path.read_bytes())
    for place, byte in places:
        data[place % len(data)] = byte
    path.write_bytes(data[: len(data) - end if end < 40 else len(data)])
    try:
        params, _ = read_weights(path)
    except UserError as error:
        assert str(path) in one_line(error)
    else:
        assert all(np.isfinite(leaf).all() for leaf in _leaves(params))


def _leaves(tree):
    return [x for v in tree.values() for x in (_leaves(v) if isinstance(v, dict) else [v])]


# --- pictures ----------------------------------------------------------------------------------


def bomb(side=20_000):
    """A PNG of 770 bytes or less that says it is ``side`` x ``side``."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(20_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch) -> None:
    assert len(bomb()) <= 770
    monkeypatch.setattr(decode, "_flatten", lambda *_: pytest.fail("it was decoded"))
    (tmp_path / "frames").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "frames" / "0.png"):
        path.write_bytes(bomb())
    too_large = "20000 x 20000 are too large|DecompressionBomb"
    for read in (
        lambda: decode.read_image(tmp_path / "a.png"),
        lambda: decode.read_image(bomb()),
        lambda: decode.read_video(tmp_path / "frames", resolution=8),
        lambda: assets.read_backdrop(tmp_path, "a.png", size=(8, 8), frames=2, fps=8.0),
    ):
        with pytest.raises(UserError, match=too_large) as caught:
            read()
        one_line(caught.value)


@few
@given(kind=st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF"]), at=st.integers(0, 10**6),
       noise=st.binary(max_size=12))  # fmt: skip
def test_damaged_pictures_are_refused_or_whole(tmp_path, kind, at, noise) -> None:
    path = tmp_path / "a.picture"
    ramp = np.arange(3 * 256, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(ramp).save(path, format=kind)
    data = path.read_bytes()
    at %= len(data)
    data = data[:at] + noise + data[at + len(noise) :] if noise else data[:at]
    try:
        image = decode.read_image(data)
    except decode.BadVideo as error:
        one_line(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


# --- command lines -----------------------------------------------------------------------------

WORDS = [
    "a\0b",
    "x" * 5000,
    "\udcff\udc80",
    "dir",
    "loop",
    "file",
    "/dev/zero",
    "",
    "\n",
    "no/where",
]
WORDS += ["~nouser/x", "file/x", "/dev/full", "-", "\x1b[31m", "\u202e"]


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_command_lines_of_anything(tmp_path, monkeypatch, capsys, word) -> None:
    def stop(*_: object, **__: object) -> None:
        raise UserError("stop: all was read that is not ours")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "prepare_gan", stop)
    monkeypatch.setattr(training_planner, "prepare_planner", stop)
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "story.json").write_text(to_json(STORY), "utf-8")
    lines = [
        ["generate", "--script", word],
        ["script", "--preview", word],
        ["export", "--run", word],
    ]
    lines += [
        ["script", "--preview", "story.json", "--out", f"{word or 'no'}/no/no.gif"],
        [word],
        [f"--{word}"],
    ]
    lines += [
        ["generate", "a star", f"--{name}", word, "--out", "o.gif"] for name in ("run", "image")
    ]
    lines += [["generate", "a star", "--out", word], ["script", "a star", "--image", word]]
    lines += [["script", "a star", "--run", f"{word}.safetensors"], ["script", "a star", word]]
    lines += [["edit", word, "--extend", "2", "--out", "o.gif"], ["generate", "--seed", word, "x"]]
    for argv in lines:
        _refused(cli.main, argv, capsys)
    main = (train.gan.main, train.planner.main, train.rl.main)[WORDS.index(word) % 3]
    for argv in (["--preset", word], ["--data", f"folder:{word}"], ["--train.steps", word]):
        _refused(main, [*argv, "--run", "run"], capsys)
    _refused(train.gan.main, ["--data", f"tfds:{word}", "--run", "run"], capsys)
    kept = {"dir", "file", "loop", "story.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def _refused(main, argv, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    said = capsys.readouterr().err
    assert stopped.value.code == 2, (argv, said)
    assert said.strip() and "Traceback" not in said
    if said.startswith("error: "):  # the line is ours, not of the parser of options
        assert said[:-1].isprintable()


# --- the package itself --------------------------------------------------------------------------

FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
FORBIDDEN |= {"torch", "subprocess", "pty", "runpy", "code"}


@pytest.mark.parametrize(
    "path", sorted(pathlib.Path(jaxvid.__file__).parent.rglob("*.py")), ids=lambda p: p.stem
)
def test_the_package_opens_no_pickles_and_runs_no_data(path: pathlib.Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not FORBIDDEN & {name.split(".")[0] for name in names}, node.lineno
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "compile", "__import__", "os.system"), node.lineno
            assert "popen" not in called.lower(), node.lineno
            if called == "np.load":  # NumPy's default is False too; we say it
                said = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert said.get("allow_pickle") == "False", node.lineno
