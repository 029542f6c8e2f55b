"""Sentence forms of ``english``: how verbs stand, how texts and shots begin, what joins clauses.

Of a list of four forms or more the last quarter is held out; a form twice is twice as likely.
"""

from typing import Literal, NamedTuple, TypeVar


class Mode(NamedTuple):
    """How the verbs of a sentence stand: auxiliaries and forms (places in a Verb), one or many.

    ``after`` is the form of a second verb ("is moving, then stops"); ``kind`` what may follow the
    sentence's beginning: a clause, a noun, or a noun with a bare verb ("make it jump").
    """

    kind: Literal["clause", "noun", "base"]
    aux: tuple[str, str]
    form: tuple[int, int]
    after: tuple[int, int]


FINITE = Mode("clause", ("", ""), (1, 2), (1, 2))
PROGRESSIVE = Mode("clause", ("is", "are"), (3, 3), (1, 2))
WILL = Mode("clause", ("will", "will"), (0, 0), (0, 0))
SHOULD = Mode("clause", ("should", "should"), (0, 0), (0, 0))
ING = Mode("noun", ("", ""), (3, 3), (3, 3))
THAT = Mode("noun", ("that", "that"), (1, 2), (1, 2))
WHICH_IS = Mode("noun", ("which is", "which are"), (3, 3), (1, 2))
BARE = Mode("base", ("", ""), (0, 0), (0, 0))
TO_VERB = Mode("base", ("to", "to"), (0, 0), (0, 0))

T = TypeVar("T")


def more(forms: tuple[T, ...], *new: T) -> tuple[T, ...]:
    """The forms with new ones for training; which are held out stays as it is."""
    held, k = len(forms) // 4, 0
    while (len(new) + len(forms) + k) // 4 != held + k:
        k += 1
    last = forms[len(forms) - held :]
    return (*new, *forms, *(last[n % held] for n in range(k)))


# Beginnings of a prompt. In every list of forms the last quarter is held out (``Draw.form``).
Lead = tuple[str, Mode]
PLAIN: tuple[Lead, ...] = more(
    (
        *(("", FINITE), ("", FINITE), ("", FINITE), ("", ING), ("", ING), ("", PROGRESSIVE)),
        *(("a video of", ING), ("a clip of", ING), ("a clip in which", FINITE)),
        *(("a video in which", FINITE), ("a clip in which", PROGRESSIVE)),
    ),
    ("", FINITE),
    ("video of", ING),
    ("clip of", ING),
    ("a video showing", ING),
    ("this clip shows", ING),
    ("the clip shows", ING),
)
REQUESTS: tuple[Lead, ...] = more(
    (
        *(("first,", FINITE), ("look!", FINITE), ("animate", ING), ("would you show me", ING)),
        *(("is it possible to see", ING), ("can you show", ING), ("wow,", FINITE), ("watch", ING)),
        *(("first, we see", ING), ("I am thinking of", ING), ("look,", ING), ("there's", ING)),
        *(
            ("how about", ING),
            ("can I see", ING),
            ("could you make a clip of", ING),
            ("video:", ING),
        ),
        *(("what I want:", FINITE), ("it would be great to see", ING), ("suppose", FINITE)),
        *(("I imagine", ING), ("I wish to see", ING), ("give me", ING), ("picture", ING)),
        *(
            ("may I have", ING),
            ("once upon a time,", FINITE),
            ("story:", FINITE),
            ("scene:", FINITE),
        ),
        *(("the video starts with", ING), ("in my video,", FINITE), ("let us see", ING)),
        *(("it shows", ING), ("here,", FINITE), ("idea:", ING), ("you see", ING), ("here is", ING)),
        *(("", FINITE),) * 6,
        *(("", ING),) * 5,
        *(
            ("", PROGRESSIVE),
            ("", PROGRESSIVE),
            ("in this clip,", FINITE),
            ("", SHOULD),
            ("", WILL),
        ),
        *(("show me", ING), ("please show me", ING), ("a video of", ING), ("make a video of", ING)),
        *(("create an animation where", FINITE), ("I want to see", ING), ("make", BARE)),
        *(("let", BARE), ("please make", BARE), ("I want", TO_VERB), ("I would like to see", ING)),
        *(("generate a clip in which", FINITE), ("I'd like a video where", FINITE)),
        *(("a simple animation of", ING), ("please draw", ING), ("imagine", ING), ("we see", ING)),
        *(("hi, please create a video of", ING), ("a short clip of", ING), ("I need", ING)),
        *(("can you make", BARE), ("could you show me", ING)),
        *(("a clip for my daughter:", ING), ("for my kids, please make a video of", ING)),
        *(("I want a clip in which", FINITE), ("please show", ING), ("create a video of", ING)),
        *(("please make an animation where", FINITE), ("I'd like to see", ING)),
        *(("create an animation of", ING), ("I need a video of", ING)),
        *(("make a clip of", ING), ("in this video,", FINITE), ("please let", BARE)),
        *(("I would like", TO_VERB), ("show me a video where", FINITE)),
    ),
    ("hey, can you do", ING),
    ("hey can u do", ING),
    ("can u make", BARE),
    ("just", ING),
    ("ok so", FINITE),
    ("ok, so", FINITE),
    ("draw me", ING),
    ("can you put", ING),
    ("do", ING),
    ("clip of", ING),
    ("video of", ING),
    ("I was thinking of", ING),
    ("open on", ING),
    ("start with", ING),
    ("pls show me", ING),
    ("so there's", ING),
    ("one scene:", FINITE),
    ("animation:", FINITE),
    ("an animation where", FINITE),
    ("my video starts with", ING),
    ("mommy, I want", ING),
    ("it's", ING),
    ("I'd love to see", ING),
    ("maybe", ING),
    ("prompt:", FINITE),
    ("film", ING),
    ("draw", ING),
    ("please animate", ING),
)
ANIMATE: tuple[Lead, ...] = (
    *(("first,", FINITE), ("can you make", BARE), ("it should look as if", FINITE)),
    *(("", FINITE),) * 4,
    *(("make", BARE),) * 3,
    *(
        *(("", PROGRESSIVE), ("", ING), ("let", BARE), ("animate this:", FINITE)),
        *(("please make", BARE),),
    ),
    *(("I want", TO_VERB), ("now", FINITE), ("", SHOULD), ("animate the picture so that", FINITE)),
    *(("in the video,", FINITE), ("have", BARE), ("", WILL)),
    *(("animate the picture:", FINITE), ("please let", BARE), ("in the video,", WILL)),
    *(("animate this so that", FINITE), ("please have", BARE)),
)
# Beginnings of a later shot: after a cut that a new name shows, and for any shot. ``{n}`` is its
# number, ``{nth}`` its ordinal.
THEN: tuple[Lead, ...] = (
    *(("{nth},", FINITE), ("then suddenly", FINITE), ("then,", FINITE), ("and now", FINITE)),
    *(("then", FINITE), ("then", FINITE), ("next,", FINITE), ("after that,", FINITE)),
    *(("and then", FINITE), ("afterwards,", FINITE), ("later,", FINITE), ("now", FINITE)),
    *(
        *(("then comes", ING), ("then there is", ING), ("then we see", ING)),
        *(("next we see", ING), ("after that, we see", ING)),
    ),
    *(("after that,", PROGRESSIVE), ("next,", PROGRESSIVE)),
)
CUTS: tuple[Lead, ...] = more(
    (
        *(("cut! now", FINITE), ("in another shot,", FINITE)),
        *(("now we see", ING), ("new shot:", FINITE), ("new scene:", ING), ("{nth} shot:", FINITE)),
        *(
            ("{nth} scene:", ING),
            ("we cut to", ING),
            ("in shot {n},", FINITE),
            ("a cut, then", FINITE),
        ),
        *(("another scene:", FINITE), ("it cuts to", ING), ("the scene changes to", ING)),
        *(("cut to", ING), ("cut to", ING), ("next shot:", FINITE), ("shot {n}:", FINITE)),
        *(
            ("in the next shot,", FINITE),
            ("in the {nth} shot,", FINITE),
            ("the next shot shows", ING),
        ),
        *(("scene {number}:", FINITE), ("in the next scene,", FINITE), ("cut:", FINITE)),
        *(("next scene:", FINITE), ("in the next shot we see", ING), ("the {nth} shot shows", ING)),
        *(("next scene:", ING), ("in the {nth} scene,", FINITE), ("the next scene shows", ING)),
        *(("shot {number}:", FINITE), ("in the next scene we see", ING)),
    ),
    ("in the following scene", FINITE),
    ("in the following shot,", FINITE),
    ("in the following scene,", FINITE),
    ("the following scene shows", ING),
    ("in scene {n},", FINITE),
    ("in scene {number},", FINITE),
    ("scene {n}:", FINITE),
    ("scene {n}:", FINITE),
    ("scene {n}", FINITE),
    ("scene {n} shows", ING),
    ("scene {number} is", ING),
    ("then cut to", ING),
    ("then cut to", ING),
    ("cut.", FINITE),
    ("cut.", FINITE),
    ("new scene.", FINITE),
    ("next shot.", FINITE),
    ("next scene.", FINITE),
    ("in the shot after that,", FINITE),
    ("after the cut,", FINITE),
    ("after a cut,", FINITE),
    ("jump cut to", ING),
    ("switch to", ING),
    ("then switch to", ING),
    ("the video then shows", ING),
    ("the next scene is", ING),
    ("the next shot has", ING),
    ("after that, a scene with", ING),
    ("then a scene with", ING),
    ("then a new shot:", FINITE),
    ("the {nth} scene is", ING),
    ("{nth},", FINITE),
    ("part {n}:", FINITE),
)
# What stands before the word for a fade or wipe, which of its forms, what stands after it.
TURNS: tuple[tuple[str, int, str, Mode], ...] = more(
    (
        *(("then it", 1, "to", ING), ("this", 1, "into", ING), ("now a", 0, "to", ING)),
        *(("the shot", 1, "into", ING), ("it", 1, "to", ING), ("after a", 0, ", we see", ING)),
        *(("", 0, "into", ING), ("", 0, ":", ING), ("then the video", 1, "to", ING)),
        *(("", 0, "to", ING), ("", 0, "to", ING), ("", 0, "to the next shot:", FINITE)),
        *(("with a", 0, ", the next shot shows", ING), ("the picture", 1, "to", ING)),
        *(("then a", 0, "to", ING), ("a", 0, "leads to", ING), ("", 0, "to shot {n}:", FINITE)),
        *(
            ("the picture", 1, "to the next shot:", FINITE),
            ("a", 0, "leads to the next shot:", FINITE),
        ),
    ),
    ("shot {n}, after a", 0, ":", FINITE),
    ("scene {n}, after a", 0, ":", FINITE),
    ("after a", 0, ",", FINITE),
    ("", 0, ",", FINITE),
    ("then", 0, "to", ING),
    ("then", 0, "into", ING),
    ("", 0, "to a scene with", ING),
    ("", 0, "into a scene with", ING),
    ("", 0, "to scene {n}:", FINITE),
    ("", 0, ". scene {n}:", FINITE),
    ("the scene", 1, "to", ING),
    ("", 0, "to the {nth} scene, where", FINITE),
    ("then", 0, "into a scene where", FINITE),
    ("", 0, "-", FINITE),
)
# How an act is followed by another of the same actor; the verb is a second verb of the sentence if
# the mode is None. ``{it}`` is a pronoun.
THEREAFTER: tuple[tuple[str, Mode | None], ...] = more(
    (
        *((", before", ING), ("and eventually", None), (", afterwards", None), (", next", None)),
        *((", then", None), (", then", None), ("and then", None), ("before", ING)),
        *((", and finally", None), ("and next", None), (", finally", None), ("->", None)),
        *(("; then", None), ("and later", None), (", and afterwards", None)),
        *((", and after that", None), (", after that", None)),
        *(("and after that", None), (", and then", None)),
    ),
    ("then", None),
    ("and afterwards", None),
)
IT_THEN: tuple[tuple[str, Mode | None], ...] = (
    ("until {it}", FINITE),
    *((". afterwards, {it}", FINITE), (". finally, {it}", FINITE), (". next, {it}", FINITE)),
    *((", then {it}", FINITE), (", after which {it}", FINITE), (". then {it}", FINITE)),
    *((". after that, {it}", FINITE), (", and then {it}", FINITE), ("; then {it}", FINITE)),
    *(("; after that, {it}", FINITE),),
)
JOINS: tuple[tuple[str, Mode | None], ...] = (
    *(("but", None), (", as", FINITE), ("and meanwhile", None), (", and meanwhile", None)),
    *(("and", None), ("and", None), ("while", FINITE), (", and", None), ("as", FINITE)),
    *((",", FINITE), (", but", None), ("whereas", FINITE), (", whereas", FINITE), (";", FINITE)),
    *(("; meanwhile,", FINITE), ("and at the same time", None), (", while", FINITE)),
    *((", and at the same time", None), ("; at the same time,", FINITE)),
)
BESIDES = ("", "", "", "meanwhile,", "at the same time,")  # before a second sentence of a shot
# Where a background is said, and after which word.
ON = ("on", "on", "on", "on", "in front of", "upon")
BACKGROUNDS = (
    *(("end", "on"), ("end", "over"), ("front", "on")),
    *(("first", "on"), ("canvas", "on"), ("end", "over")),
    *(("end", "on"), ("end", "on"), ("end", "against"), ("front", "on"), ("end", "with")),
    *(("sentence", ""), ("comma", ""), ("front", "against"), ("front", "with")),
)
# What joins a camera's movement to a sentence ("front": it stands before), who moves, and how.
MOVES: tuple[tuple[str, str, Mode], ...] = (
    *(("with a", "", BARE), (".", "camera:", BARE), (", and", "the camera", FINITE)),
    *((". meanwhile,", "the camera", FINITE), ("front", "the view", FINITE)),
    *((",", "the camera", ING), ("and", "the camera", FINITE), (";", "the camera", FINITE)),
    (".", "the camera should", BARE),
    *((",", "the camera", FINITE), ("while", "the camera", FINITE), (".", "the camera", FINITE)),
    *(("as", "the camera", FINITE), ("with", "the camera", ING), (",", "", ING), (".", "", BARE)),
    *(
        ("front", "the camera", FINITE),
        (",", "camera", ING),
        (".", "the view", FINITE),
        ("while", "the view", FINITE),
    ),
    *(("as", "the view", FINITE), ("with", "the view", ING), (".", "the camera", PROGRESSIVE)),
)
STILL = (". the camera does not move", ", static camera", ". the camera stays still")
CLOSINGS = (", please", ", thanks", ", thank you", ", pls", ", thx")
# Notes: what stands between keywords, and what the fields are called.
TAG_MARKS = (",", ",", ",", ";", "/", "-", ".", "|")
OBJECT_LABELS = ("object:", "subject:", "shape:", "actor:", "what:")
ACT_LABELS = ("motion:", "action:", "movement:", "animation:")
GROUND_LABELS = ("background:", "background:", "backdrop:", "bg:", "setting:")
PACES = {
    "slow": ("slow", "slow", "very slow", "rather slow", "super slow", "pretty slow"),
    "fast": ("fast", "fast", "quick", "very fast", "rapid", "speedy", "super fast"),
}
# What two do alike: how it is joined, and how they are called.
BOTH: tuple[tuple[str, Mode], ...] = (
    *((", both", ING), (", both", ING), (". both", FINITE), ("; both", FINITE)),
    *((". they both", FINITE), (", and they both", FINITE), (". they", FINITE)),
    *(
        *((". both of them", FINITE), (", and both", FINITE), (". the two", FINITE)),
        *((", both", FINITE),),
    ),
)
# How shots are numbered, in a text whose shots all are.
LABELS = (
    *("shot {n}:", "shot {n}:", "scene {n}:", "scene {n}:", "shot {n} -", "scene {n} -", "{n})"),
    *(
        "{n})",
        "shot {number} -",
        "scene {number}:",
        "scene {n}",
        "shot {letter}:",
        "scene {letter}:",
    ),
    *("{nth} shot:", "{nth} scene:", "clip {n}:", "part {number}:", "({n})", "{number}:", "#{n}:"),
    "scene {number} -",
)
BREAKS = (".", ".", ".", ".", "\n", "\n", "\n", "/", ",", "|", ";")  # between such shots
BETWEEN = ("between shots", "between the shots", "between scenes", "between the scenes")
# Attributes told late: the article, what links them to the first and second noun, what joins both.
TELLING: tuple[tuple[str, str, str, str], ...] = (
    *(("the", "is", "is", ","), ("the", "is", "is", "and"), ("the", "is", "is", ", and")),
    *(("the", "is", "", ","), ("the", "is", "", "and"), ("the", "being", "", "and")),
    *(("", "=", "=", ","), ("", ":", ":", ","), ("", "", "", ","), ("", "is", "is", ",")),
    ("the", "should be", "should be", "and"),
)
THERE = ("there is", "we have", "there's", "we see", "you see", "here is", "this is")
GROUND_IS = (
    *("the background is", "the background is", "the backdrop is", "its background is"),
    *("the whole background is", "background is"),
)
