"""Where captions come from, in what order, and what is refused."""

import json

import pytest

from jaxvid.data import sidecar
from jaxvid.typing import UserError

CLIPS = ["a_b.mp4", "c.gif", "Jumping_Jack/d.mp4", "Jumping_Jack/e"]


def folder(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def captions(root, clips):
    return {clip: entry.caption for clip, entry in sidecar.read(root, clips).items()}


def lines(*rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def test_each_source_of_captions_comes_in_its_turn(tmp_path):
    root = folder(
        tmp_path,
        captions_DOT_jsonl=lines({"file": "a_b.mp4", "caption": "from the sidecar"}),
        a_b_DOT_txt="not read",
        c_DOT_txt=" from the text\n",
        Jumping_Jack__e_DOT_txt="of a folder of images",
    )
    (root / "Jumping_Jack" / "e").mkdir()
    assert captions(root, CLIPS) == {
        "a_b.mp4": "from the sidecar",
        "c.gif": "from the text",
        "Jumping_Jack/d.mp4": "Jumping Jack",
        "Jumping_Jack/e": "of a folder of images",
    }
    (root / "captions.jsonl").unlink()
    (root / "a_b.txt").unlink()
    assert captions(root, CLIPS)["a_b.mp4"] == "a b"


@pytest.mark.parametrize("keys", [("file", "caption"), ("file_name", "text")])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_both_sidecars_and_both_spellings(tmp_path, kind, keys):
    caption = 'two "red" dots,\nmove 向右'
    quoted = '"' + caption.replace('"', '""') + '"'
    if kind == "csv":
        text = f"{keys[0]},{keys[1]}\nx/c.gif,{quoted}\n"
    else:
        text = lines({keys[0]: "x\\c.gif", keys[1]: caption, "more": 1}) + "\n\n"
    root = folder(tmp_path, **{f"captions_DOT_{kind}": "\ufeff" + text})
    assert captions(root, ["x/c.gif"]) == {"x/c.gif": caption}


@pytest.mark.parametrize(
    ("caption", "kept"),
    [
        ("e\u0301\u200d👩‍🚀 שלום a\0b", "\xe9\u200d👩‍🚀 שלום a\0b"),
        ("", ""),
        ("x" * 1_000_000, "x" * sidecar.MAX_CHARACTERS),
        ("line\u2028separator", "line\u2028separator"),
    ],
)
def test_strange_captions_are_kept(tmp_path, caption, kept):
    root = folder(tmp_path, captions_DOT_jsonl=lines({"file": "a.mp4", "caption": caption}))
    assert captions(root, ["a.mp4"]) == {"a.mp4": kept}


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path, caplog):
    root = folder(tmp_path, a_DOT_txt="caf\xe9".encode("latin-1"), b_DOT_txt="fine")
    assert captions(root, ["a.mp4", "b.mp4"]) == {"a.mp4": "caf\ufffd", "b.mp4": "fine"}
    assert "1 captions" in caplog.text and "UTF-8" in caplog.text


@pytest.mark.parametrize(
    "file",
    [
        "../a.mp4",
        "x/../../a.mp4",
        "/etc/a.mp4",
        "C:\\a.mp4",
        "..\\a.mp4",
        "a\0.mp4",
        "y" * 2000,
        "",
    ],
)
def test_paths_that_leave_the_folder_are_refused_with_their_line(tmp_path, file):
    row = {"file": "b.mp4", "caption": ""}
    root = folder(tmp_path, captions_DOT_jsonl=lines(row, {"file": file, "caption": "x"}))
    with pytest.raises(UserError, match=r"captions\.jsonl:2: .*path inside the folder") as caught:
        captions(root, ["b.mp4"])
    assert len(str(caught.value).replace(str(root), "")) < 150


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"x")
    root = folder(tmp_path / "in", captions_DOT_jsonl=lines({"file": "a.mp4", "caption": "x"}))
    (root / "a.mp4").symlink_to(tmp_path / "out.mp4")
    with pytest.raises(UserError, match="a link out of the folder; copy"):
        captions(root, ["a.mp4"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "captions.jsonl",
            '{"file": "a.mp4", "caption": "x"}\nnonsense',
            r"jsonl:2: must be a JSON",
        ),
        ("captions.jsonl", "[" * 100_000, r"jsonl:1: must be a JSON"),
        ("captions.jsonl", '{"file": "a.mp4"}', r"jsonl:1: needs a file and a caption"),
        (
            "captions.jsonl",
            '{"file": "a.mp4", "caption": 3}',
            r"jsonl:1: needs a file and a caption",
        ),
        ("captions.csv", "name,words\na.mp4,x\n", r"csv:2: needs a file and a caption"),
        ("captions.csv", "file,caption\na.mp4,red, blue and green\n", r"csv:2: has more cells"),
        ("captions.csv", f"file,caption\na.mp4,{'x' * 200_000}\n", r"csv:\d+: field larger"),
    ],
)
def test_a_sidecar_that_cannot_be_read_says_where(tmp_path, name, text, message):
    root = folder(tmp_path, **{name.replace(".", "_DOT_"): text})
    with pytest.raises(UserError, match=message) as caught:
        captions(root, ["a.mp4"])
    assert "\n" not in str(caught.value)


def test_rows_of_a_table_end_where_lines_end(tmp_path):
    text = 'file,caption,class\na.mp4,a red\u2028ball,x,\nb.mp4,"two\nlines",y\n'
    root = folder(tmp_path, captions_DOT_csv=text)
    found = captions(root, ["a.mp4", "b.mp4"])
    assert found == {"a.mp4": "a red\u2028ball", "b.mp4": "two\nlines"}


def test_a_caption_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    root = folder(tmp_path, a_DOT_txt="a red ball")

    def shut(*_):
        raise PermissionError(13, "Permission denied", str(root / "a.txt"))

    monkeypatch.setattr(type(root), "open", shut)
    with pytest.raises(UserError, match=r"a\.txt: cannot be read \(Permission denied\)"):
        captions(root, ["a.mp4"])


def test_lines_that_name_no_clip_are_counted(tmp_path, caplog):
    rows = [{"file": f"{i}.mp4", "caption": "x"} for i in range(3)]
    root = folder(tmp_path, captions_DOT_jsonl=lines(*rows))
    assert captions(root, ["1.mp4"]) == {"1.mp4": "x"}
    assert "2 lines name no clip" in caplog.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("a_red-dot__moves", "a red dot moves"),
        ("again", "again"),
        ("向右_移动", "向右 移动"),
    ],
)
def test_names_become_words(name, words):
    assert sidecar.clean(name) == words


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_further_columns_are_labels_and_groups(tmp_path, kind):
    if kind == "csv":
        text = "file,text,group,hair,digit\na.gif,x,7,pink,3\nb.gif,y,,,4\n"
    else:
        first = {"file": "a.gif", "text": "x", "group": 7, "hair": " pink ", "digit": 3}
        text = lines(first, {"file": "b.gif", "caption": "y", "digit": "4", "hair": ""})
    root = folder(tmp_path, **{f"captions_DOT_{kind}": text})
    assert sidecar.read(root, ["a.gif", "b.gif", "c/d.gif"]) == {
        "a.gif": ("x", "7", {"hair": "pink", "digit": "3"}),
        "b.gif": ("y", "b.gif", {"digit": "4"}),
        "c/d.gif": ("c", "c/d.gif", {}),  # no class folders beside a sidecar
    }


def test_a_class_folder_is_a_label(tmp_path):
    root = folder(tmp_path, Jumping_Jack__d_DOT_txt="its own words")
    found = sidecar.read(root, CLIPS)
    assert [found[clip].labels for clip in CLIPS] == [{}, {}] + 2 * [{"class": "Jumping Jack"}]
    assert found["Jumping_Jack/d.mp4"].caption == "its own words"
    assert [found[clip].group for clip in CLIPS] == CLIPS


def test_columns_that_say_nothing_fit_for_a_label_are_left_out(tmp_path):
    row = {"": "x", "a.b": "x", "a\nb": "x", "n" * 65: "x", "list": ["x"], "flag": True, "p": 0.5}
    kept = {"body height": "e\u0301" + "x" * 500, "größe": "1"}
    rows = {"file": "a.mp4", "caption": "c", **row, **kept}
    root = folder(tmp_path, captions_DOT_jsonl=lines(rows))
    labels = sidecar.read(root, ["a.mp4"])["a.mp4"].labels
    assert labels == {"body height": ("\xe9" + "x" * 500)[: sidecar.MAX_LABEL], "größe": "1"}


@pytest.mark.parametrize("group", [True, 0.5, ["x"], {"a": 1}])
def test_a_group_that_is_no_name_is_refused(tmp_path, group):
    row = {"file": "a.mp4", "caption": "c", "group": group}
    root = folder(tmp_path, captions_DOT_jsonl=lines(row))
    with pytest.raises(UserError, match=r"jsonl:1: group must be text or a whole number"):
        sidecar.read(root, ["a.mp4"])
