"""A folder of videos: what is found, prepared once, read back, and refused."""

import errno
import json
import logging
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxvid.config import DataConfig
from jaxvid.data import decode, folder, records, source, transforms
from jaxvid.data.source import open_source
from jaxvid.io import media
from jaxvid.typing import UserError

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"
SIZE, FRAMES = 16, 6


def clip(seed, T=FRAMES, H=SIZE, W=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (T, H, W, 3), np.uint8)


def config(root, **options):
    options = {"resolution": SIZE, "frames": FRAMES, "fps": 8.0, **options}
    return DataConfig(source=f"folder:{root}", **options)


def fill(root, count=3, **options):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        media.write_video(root / f"clip_{i}.webp", clip(i, **options), fps=8)
    return root


def opened(root, tmp_path, split="train", **options):
    return open_source(config(root, **options), split=split, cache_dir=tmp_path / "cache")


def everything(root, tmp_path, **options):
    """All examples by caption, of both splits."""
    sources = [opened(root, tmp_path, split, **options) for split in ("train", "test")]
    return {source[i].caption: source[i] for source in sources for i in range(len(source))}


def test_clips_come_back_exactly_with_their_captions(tmp_path):
    examples = everything(fill(tmp_path / "set", 12), tmp_path)
    assert sorted(examples) == sorted(f"clip {i}" for i in range(12))
    for i in range(12):
        example = examples[f"clip {i}"]
        np.testing.assert_array_equal(example.video, clip(i))
        assert example.fps == 8.0 and example.script is None and example.video.flags.writeable


def test_all_kinds_of_clips_are_found(tmp_path):
    root = fill(tmp_path / "a set ü", 1)
    media.write_video(root / "deep.MP4".lower(), clip(1), fps=8)
    (root / "deep.mp4").rename(root / "upper.MP4")
    (root / "class" / "walk").mkdir(parents=True)
    for t in range(12):
        Image.fromarray(clip(t)[0]).save(root / "class" / "walk" / f"{t}.png")
    media.write_video(root / "class" / "x.gif", clip(2), fps=8)
    (root / ".hidden.mp4").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    assert folder.find_clips(root) == ["class/walk", "class/x.gif", "clip_0.webp", "upper.MP4"]
    examples = everything(root, tmp_path)
    assert set(examples) == {"class", "clip 0", "upper"}


def test_thumbnails_beside_videos_are_no_clip(tmp_path):
    root = fill(tmp_path / "set", 1)
    (root / "clip_0.webp").rename(root / "clip_0.mp4")
    Image.fromarray(clip(0)[0]).save(root / "clip_0.png")
    assert folder.find_clips(root) == ["clip_0.mp4"]


def test_a_folder_of_images_is_itself_a_clip(tmp_path):
    (tmp_path / "set").mkdir()
    for t in range(FRAMES):
        Image.fromarray(clip(0)[t]).save(tmp_path / "set" / f"{t:03d}.png")
    source = opened(tmp_path / "set", tmp_path)
    assert len(source) == 1 and source[0].caption == "set"
    np.testing.assert_array_equal(source[0].video, clip(0))


def test_splits_share_no_clip_unless_there_is_one(tmp_path):
    root = fill(tmp_path / "set", 2)
    train, test = (opened(root, tmp_path, split) for split in ("train", "test"))
    assert len(train) == len(test) == 1 and train[0].caption != test[0].caption
    assert opened(root, tmp_path, "heldout")[0].caption == test[0].caption
    lone = fill(tmp_path / "lone", 1)
    assert opened(lone, tmp_path, "train")[0].caption == opened(lone, tmp_path, "test")[0].caption


def describe(root, **columns):
    """A sidecar: the functions in ``columns`` give the values of each clip's number."""
    rows = [
        {"file": f"clip_{i}.webp", "caption": f"clip {i}", **{k: f(i) for k, f in columns.items()}}
        for i in range(len(folder.find_clips(root)))
    ]
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_labels_are_what_clips_share_over_both_splits(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="jaxvid")
    root = fill(tmp_path / "set", 12, T=2 * FRAMES + 1)
    columns = {"url": lambda i: f"u{i}", "one": lambda i: "x", "class": lambda i: "cab"[i % 3]}
    describe(root, size=lambda i: ["small", "large", ""][i % 3], **columns)
    train, test = (opened(root, tmp_path, split) for split in ("train", "test"))
    assert train.labels == test.labels == {"class": ("a", "b", "c"), "size": ("large", "small")}
    for split in (train, test):
        for example in map(split.__getitem__, range(len(split))):  # two windows of each clip
            i = int(example.caption.removeprefix("clip "))
            size = {} if i % 3 == 2 else {"size": ["small", "large"][i % 3]}
            assert example.labels == {"class": "cab"[i % 3], **size}
            assert example.label == [3, 1, 2][i % 3]
    with pytest.raises(TypeError):
        example.labels["class"] = "d"
    assert "url is no label: 12 texts in 12 clips" in caplog.text
    assert "one is no label: 1 texts in 12 clips" in caplog.text


def test_a_label_has_no_more_values_than_a_network_can_tell(monkeypatch):
    rows = [{"few": str(i % 3), "many": str(i % 4)} for i in range(9)]
    monkeypatch.setattr(source, "MAX_VALUES", 3)
    assert source.find_labels(rows, "x") == {"few": ("0", "1", "2")}


def test_class_folders_are_classes(tmp_path):
    root = tmp_path / "set"
    for name in ("run", "WalkBack"):
        fill(root / name, 3)
    train = opened(root, tmp_path)
    assert train.labels == {"class": ("Walk Back", "run")}
    for example in map(train.__getitem__, range(len(train))):
        assert example.label == 1 + train.labels["class"].index(example.caption)


def test_a_group_stays_in_one_split(tmp_path):
    root = fill(tmp_path / "set", 24)
    describe(root, group=lambda i: i // 4)
    numbers = [
        {int(opened(root, tmp_path, split)[i].caption.split()[1]) for i in range(n)}
        for split, n in (("train", 20), ("test", 4))
    ]
    assert sorted([*numbers[0], *numbers[1]]) == list(range(24))
    assert len({number // 4 for number in numbers[1]}) == 1
    held_out = source.split_indices([str(i // 4) for i in range(24)], "test")
    assert numbers[1] == set(held_out)  # the rule of names, over groups


def test_a_long_clip_gives_windows_and_a_short_one_is_held(tmp_path, caplog):
    root = fill(tmp_path / "long", 1, T=2 * FRAMES + 3)
    source = opened(root, tmp_path)
    whole = clip(0, T=2 * FRAMES + 3)
    start = transforms.window_start(2 * FRAMES + 3, FRAMES)
    assert len(source) == 2
    for window in range(2):
        at = start + window * FRAMES
        np.testing.assert_array_equal(source[window].video, whole[at : at + FRAMES])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    root = fill(tmp_path / "short", 2, T=2)
    held = opened(root, tmp_path)[0].video
    assert len(held) == FRAMES and (held[1:] == held[1]).all() and (held[0] != held[1]).any()
    assert "1 of 1 clips" in caplog.text and "last frame is held" in caplog.text


def test_a_film_longer_than_a_record_is_stored_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "PIECE", 2 * FRAMES)
    source = opened(fill(tmp_path / "set", 1, T=4 * FRAMES), tmp_path)
    assert [c["frames"] for c in source.clips] == [2 * FRAMES, 2 * FRAMES] and len(source) == 4
    whole = np.concatenate([source[i].video for i in range(4)])
    np.testing.assert_array_equal(whole, clip(0, T=4 * FRAMES))


@pytest.mark.parametrize("length", [3 * FRAMES, 4 * FRAMES - 1, 7 * FRAMES])
def test_a_long_film_is_never_held(tmp_path, monkeypatch, caplog, length):
    monkeypatch.setattr(folder, "PIECE", FRAMES + 1)
    source = opened(fill(tmp_path / "set", 1, T=length), tmp_path)
    assert min(c["frames"] for c in source.clips) >= 2 * FRAMES
    assert "is held" not in caplog.text
    longer = opened(tmp_path / "set", tmp_path, frames=2 * FRAMES)  # its records are others
    assert min(c["frames"] for c in longer.clips) >= min(length, 4 * FRAMES)


def test_links_to_folders_are_followed_once(tmp_path, caplog):
    fill(tmp_path / "elsewhere", 2)
    root = fill(tmp_path / "set", 1)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "linked" / "back").symlink_to(root)
    found = folder.find_clips(root)
    assert len(found) == 3 and sum(name.startswith("linked/") for name in found) == 2


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, caplog):
    root = fill(tmp_path / "set", 1)
    scan = os.scandir

    def shut(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    (root / "shut").mkdir()
    monkeypatch.setattr(os, "scandir", shut)
    assert len(folder.find_clips(root)) == 1
    assert "shut: Permission denied" in caplog.text


def test_clips_are_fitted_and_resampled_when_prepared(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    media.write_video(root / "a.webp", clip(0, T=24, H=20, W=40), fps=16)
    example = opened(root, tmp_path)[0]
    assert example.fps == 8.0
    stored = transforms.fit(clip(0, T=24, H=20, W=40)[::2], SIZE)
    start = transforms.window_start(12, FRAMES)
    np.testing.assert_array_equal(example.video, stored[start : start + FRAMES])


def test_a_set_is_prepared_once(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="jaxvid")
    root = fill(tmp_path / "set")
    first = opened(root, tmp_path)
    assert "preparing 3 clips" in caplog.text
    monkeypatch.setattr(decode, "read_video", lambda *_, **__: pytest.fail("decoded again"))
    again = opened(root, tmp_path, frames=2)  # frames are cut when read
    assert repr(again) == repr(opened(root, tmp_path, frames=2)) and len(again) == 6
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy[0].video, first[0].video)


@pytest.mark.parametrize("change", ["clip", "caption", "resolution", "fps"])
def test_a_change_is_prepared_anew(tmp_path, change):
    root = fill(tmp_path / "set", 1)
    before = opened(root, tmp_path)
    options = {}
    if change == "clip":
        media.write_video(root / "clip_0.webp", clip(9), fps=8)
    elif change == "caption":
        (root / "clip_0.txt").write_text("new words")
    else:
        options = {"resolution": {"resolution": 8}, "fps": {"fps": 4.0}}[change]
    after = opened(root, tmp_path, **options)
    assert after.key != before.key
    assert (after[0].caption == "new words") == (change == "caption")


def test_prepared_records_can_be_read_by_tensorflow_datasets(tmp_path):
    import tensorflow_datasets as tfds

    source = opened(fill(tmp_path / "set", 10), tmp_path)
    built = tmp_path / "cache" / source.key / folder.BUILT
    data = tfds.builder_from_directory(str(built)).as_data_source("clips")
    captions = [data[i]["caption"].decode() for i in range(10)]
    assert captions == [f"clip {i}" for i in range(10)]  # in the order of clips.json
    np.testing.assert_array_equal(data[2]["video"], clip(2))
    assert "tensorflow" not in sys.modules
    assert list(built.glob("*array_record*"))


def test_a_set_of_any_size_is_written_as_it_comes(tmp_path, monkeypatch):
    """Builders of tensorflow-datasets need TensorFlow for what they do not hold in memory."""
    from tensorflow_datasets.core import shuffle

    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    monkeypatch.setattr(records, "SHARD", 2)
    monkeypatch.setattr(records, "BUFFER", 1000)
    assert len(everything(fill(tmp_path / "set", 5), tmp_path)) == 5


def test_nothing_is_printed(tmp_path, capfd):
    opened(fill(tmp_path / "set"), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_bad_clips_are_named_skipped_and_counted(tmp_path, caplog):
    root = fill(tmp_path / "set", 3)
    media.write_video(root / "good.mp4", clip(5), fps=8)
    whole = (root / "good.mp4").read_bytes()
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "text.mkv").write_text("not a video")
    (root / "empty.avi").touch()
    examples = everything(root, tmp_path)
    assert set(examples) == {"clip 0", "clip 1", "clip 2", "good"}
    messages = [record.getMessage() for record in caplog.records]
    for name in ("truncated.mp4", "text.mkv", "empty.avi"):
        assert sum(m.startswith(f"skipped {root / name}: ") for m in messages) == 1
    counted = f"3 of 7 clips of {root} skipped: empty.avi, text.mkv, truncated.mp4"
    assert messages.count(counted) == 2  # when prepared, and when opened again
    assert not any("\n" in m for m in messages)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), 2),
        (OSError(errno.EIO, "Input/output error"), 1),
        (OSError(errno.EMFILE, "Too many open files"), 2),
        (MemoryError(), 2),
    ],
)
@pytest.mark.parametrize("name", ["clip_1.webp", "frames/1.png"])
def test_a_clip_that_cannot_be_read_now_is_not_left_out_for_ever(
    tmp_path, monkeypatch, name, fault, code
):
    root = fill(tmp_path / "set", 3)
    (root / "frames").mkdir()
    for t in range(3):
        Image.fromarray(clip(9)[t]).save(root / f"frames/{t}.png")
    open_picture = decode._open_picture

    def fail(source):
        if source == root / name:
            raise fault
        return open_picture(source)

    monkeypatch.setattr(decode, "_open_picture", fail)
    with pytest.raises(UserError, match="cannot be read now .*; see to that and run") as raised:
        opened(root, tmp_path)
    assert raised.value.code == code and str(root / name) in str(raised.value)
    assert [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []
    monkeypatch.undo()
    assert len(everything(root, tmp_path)) == 4


def test_a_set_with_nothing_left_is_refused_and_leaves_nothing(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    (root / "a.mp4").write_text("not a video")
    (root / "b.mp4").touch()
    with pytest.raises(
        UserError, match="none of 2 clips can be decoded; the first, a.mp4"
    ) as caught:
        opened(root, tmp_path)
    assert "\n" not in str(caught.value)
    assert [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "no clips"])
def test_folders_without_clips_are_refused(tmp_path, kind):
    root = tmp_path / "set"
    if kind == "file":
        root.touch()
    elif kind != "missing":
        root.mkdir()
    if kind == "no clips":
        (root / "readme.md").touch()
    fix = "no such folder; give" if kind in ("missing", "file") else "holds no clips; put .mp4"
    with pytest.raises(UserError, match=fix):
        opened(root, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    root = fill(tmp_path / "set", 1)
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="set JAXVID_CACHE"):
        open_source(config(root), split="train", cache_dir=tmp_path / "taken" / "cache")


def test_the_cache_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("JAXVID_CACHE", raising=False)
    assert folder.cache_root() == pathlib.Path("/x/jaxvid/datasets")
    monkeypatch.setenv("JAXVID_CACHE", "/y")
    assert folder.cache_root() == pathlib.Path("/y/datasets")
    monkeypatch.delenv("JAXVID_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder.cache_root() == pathlib.Path.home() / ".cache/jaxvid/datasets"


def test_a_kill_while_preparing_leaves_no_half_set(tmp_path):
    root, cache = fill(tmp_path / "set", 3), tmp_path / "cache"
    code = (
        "import sys, time\n"
        "from jaxvid.config import DataConfig\n"
        "from jaxvid.data import decode, folder, source\n"
        "real = decode.read_video\n"
        "def slow(path, **o):\n"
        "    if path.name == 'clip_2.webp': print('here', flush=True); time.sleep(60)\n"
        "    return real(path, **o)\n"
        "decode.read_video = slow\n"
        "c = DataConfig(source='folder:' + sys.argv[1], resolution=16, frames=6, fps=8.0)\n"
        "source.open_source(c, split='train', cache_dir=sys.argv[2])\n"
    )
    checkout = pathlib.Path(folder.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(cache)], cwd=checkout, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"here\n"
        deadline = time.monotonic() + 20
        while not list(cache.glob(".*.tmp*/whole")) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        process.stdout.close()
    assert list(cache.glob(".*.tmp*")) and not [p for p in cache.iterdir() if p.name[0] != "."]
    assert len(everything(root, tmp_path)) == 3
    assert not list(cache.glob(".*.tmp*"))


def test_a_damaged_cache_is_prepared_anew(tmp_path):
    root = fill(tmp_path / "set", 2)
    source = opened(root, tmp_path)
    (tmp_path / "cache" / source.key / "clips.json").unlink()
    assert len(everything(root, tmp_path)) == 2


def test_processes_that_prepare_together_agree(tmp_path):
    root = fill(tmp_path / "set", 4)
    code = (
        "import sys\n"
        "from jaxvid.config import DataConfig\n"
        "from jaxvid.data.source import open_source\n"
        "c = DataConfig(source='folder:' + sys.argv[1], resolution=16, frames=6, fps=8.0)\n"
        "print(open_source(c, split='train', cache_dir=sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "cache")]
    checkout = pathlib.Path(folder.__file__).parents[2]
    running = [
        subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0] == outputs[1] and outputs[0][0].startswith(b"Folder('set-")


def test_real_clips_can_be_prepared(tmp_path):
    root = DATA / "asl_gestures"
    if not root.is_dir():
        pytest.skip("no shared data")
    (tmp_path / "two").mkdir()
    for name in ("again.mkv", "book.mkv"):
        (tmp_path / "two" / name).symlink_to(root / name)
    examples = everything(tmp_path / "two", tmp_path)
    assert set(examples) == {"again", "book"}
    assert all(example.video.std() > 20 and example.fps == 8.0 for example in examples.values())
