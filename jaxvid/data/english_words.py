"""The vocabulary of ``english``: words for every value of an outline.

No word means two values of a slot. A word twice is twice as likely. A verb is its four forms
(``move``, ``moves``, ``move`` after a plural, ``moving``).
"""

Verb = tuple[str, str, str, str]
Verbs = tuple[Verb, ...]

_DOUBLED = ("hop", "sit", "get", "spin", "run", "stop", "drop", "zip", "pan")


def verb(phrase: str) -> Verb:
    """The four forms of a verb phrase, its first word being inflected."""
    word, _, rest = phrase.partition(" ")
    rest = rest and f" {rest}"
    s = word + ("es" if word.endswith(("s", "x", "sh", "ch", "o")) else "s")
    s = f"{word[:-1]}ies" if word.endswith("ly") else s
    stem = word[:-1] if word.endswith("e") and not word.endswith("ee") else word
    ing = f"{stem}{stem[-1] if word in _DOUBLED else ''}ing"
    return word + rest, s + rest, word + rest, ing + rest


def _verbs(*phrases: str) -> Verbs:
    return tuple(verb(phrase) for phrase in phrases)


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "kind": {
        "circle": ("circle", "circle", "disc", "dot", "ball", "disk", "bubble"),
        "square": ("square", "square", "box", "block", "cube", "tile"),
        "triangle": ("triangle",),
        "star": ("star", "star", "star", "five-pointed star", "pentagram"),
        "diamond": ("diamond", "diamond", "rhombus", "lozenge"),
        "cross": ("cross", "cross", "plus", "plus sign"),
        "ring": ("ring", "ring", "hoop", "donut", "doughnut"),
        "heart": ("heart", "heart", "love heart"),
    },
    "color": {
        "red": ("red", "red", "red", "crimson", "scarlet", "ruby"),
        "orange": ("orange", "orange", "orange", "tangerine"),
        "yellow": ("yellow", "yellow", "yellow", "gold", "golden", "lemon"),
        "green": ("green", "green", "green", "emerald", "lime green"),
        "cyan": ("cyan", "turquoise", "teal", "aqua"),
        "blue": ("blue", "blue", "blue", "navy", "royal blue", "cobalt"),
        "purple": ("purple", "purple", "violet", "lilac", "lavender"),
        "pink": ("pink", "pink", "pink", "rose", "hot pink"),
    },
    "size": {
        "small": ("small", "small", "little", "tiny", "mini", "miniature"),
        "medium": (
            "medium",
            "medium",
            "medium-sized",
            "mid-sized",
            "middle-sized",
            "average-sized",
        ),
        "large": ("large", "big", "big", "huge", "giant", "enormous", "massive", "gigantic"),
    },
    "tone": {
        "light": ("light", "white", "bright", "pale"),
        "dark": ("dark", "dark", "black", "dim", "gloomy"),
        "warm": ("warm", "warm", "beige", "sandy"),
        "cool": ("cool", "cool", "cold", "grey-blue", "blue-grey"),
    },
}
THINGS = ("shape", "shape", "object", "thing", "figure", "item")  # a kind that nobody named
CUTE = ("cute", "nice", "simple", "lovely", "funny", "pretty", "happy", "beautiful")
ORDINALS = ("first", "second", "third")
NUMBERS = ("one", "two", "three")
PAIRS = ("two", "two", "2", "a pair of", "a couple of")

PATTERNS = {  # before "background"
    "plain": ("plain", "plain", "solid", "uniform", "flat"),
    "gradient": ("gradient",),
    "grid": ("grid", "checkered", "gridded"),
    "noise": ("textured", "noisy", "cloudy", "grainy", "speckled"),
}
SURFACES = {"gradient": ("gradient",), "grid": ("grid", "lattice"), "noise": ("noise texture",)}
GROUNDS = ("background", "background", "backdrop")

GO = _verbs(
    "move",
    "move",
    "move",
    "go",
    "go",
    "slide",
    "travel",
    "glide",
    "fly",
    "head",
    "drift",
    "float",
    "shift",
)
HURRY = {
    "slow": _verbs("crawl", "creep", "inch"),
    "fast": _verbs("dash", "race", "rush", "dart", "zip", "speed", "shoot", "sprint"),
}
WAYS = {
    "right": (
        "right",
        "to the right",
        "to the right",
        "rightwards",
        "rightward",
        "from left to right",
        "towards the right",
        "over to the right",
    ),
    "left": (
        "left",
        "to the left",
        "to the left",
        "leftwards",
        "leftward",
        "from right to left",
        "towards the left",
        "over to the left",
    ),
    "up": ("up", "upwards", "upward", "towards the top", "straight up"),
    "down": ("down", "downwards", "downward", "towards the bottom", "straight down"),
    "up_right": (
        "to the upper right",
        "towards the top right",
        "diagonally up to the right",
        "up right",
        "to the top right",
        "up and to the right",
        "up-right",
    ),
    "up_left": (
        "to the upper left",
        "towards the top left",
        "diagonally up to the left",
        "up left",
        "to the top left",
        "up and to the left",
        "up-left",
    ),
    "down_right": (
        "to the lower right",
        "towards the bottom right",
        "diagonally down to the right",
        "down right",
        "to the bottom right",
        "down and to the right",
    ),
    "down_left": (
        "to the lower left",
        "towards the bottom left",
        "diagonally down to the left",
        "down left",
        "to the bottom left",
        "down and to the left",
    ),
}
ACTS = {
    "up": _verbs("rise", "climb", "ascend", "rise up", "soar", "lift off"),
    "down": _verbs("fall", "sink", "descend", "drop down", "drop", "plunge"),
    "bounce": _verbs(
        "bounce",
        "bounce up and down",
        "hop",
        "jump",
        "jump up and down",
        "bob up and down",
        "leap up and down",
    ),
    "orbit": _verbs(
        *("move in a circle", "go round in circles", "circle around", "move in circles"),
        *("spin around in a circle", "go round and round", "loop around", "run in circles"),
        *("follow a circular path", "go around in a circle", "move around in circles"),
    ),
    "zoom_in": _verbs(
        "grow",
        "get bigger",
        "get larger",
        "expand",
        "swell",
        "become bigger",
        "get bigger and bigger",
        "grow larger",
        "inflate",
        "increase in size",
        "scale up",
    ),
    "zoom_out": _verbs(
        "shrink",
        "get smaller",
        "contract",
        "become smaller",
        "get smaller and smaller",
        "decrease in size",
        "scale down",
    ),
    "still": (
        *_verbs(
            "stay still",
            "stand still",
            "stay put",
            "stay in place",
            "remain still",
            "keep still",
            "sit still",
            "rest",
            "stay motionless",
            "do nothing",
        ),
        ("not move", "does not move", "do not move", "not moving"),
        ("not move", "doesn't move", "don't move", "not moving"),
    ),
}
TRAVELS = (*WAYS, "bounce", "orbit")  # "hops to the left of" would say where it goes
PARTICIPLES = {"bounce": "bouncing", "zoom_in": "growing", "zoom_out": "shrinking"}
STOP = _verbs(
    "stop",
    "stop",
    "come to a stop",
    "freeze",
    "halt",
    "stand still",
    "stop moving",
    "come to rest",
    "pause",
    "come to a halt",
)
GONE = _verbs(
    "disappear",
    "disappear",
    "vanish",
    "leave the screen",
    "leave the frame",
    "leave",
    "exit the frame",
    "leave the scene",
    "go off screen",
    "vanish from view",
)
BE: Verb = ("be", "is", "are", "")
IDLE: Verbs = (
    ("appear", "is there", "are there", ""),
    ("appear", "can be seen", "can be seen", ""),
    verb("move around"),
)
ROAM = _verbs("move", "move around", "move around", "move about")
TO = {
    "towards": _verbs(
        "move towards",
        "go towards",
        "approach",
        "head for",
        "come closer to",
        "get closer to",
        "run towards",
        "move toward",
        "fly towards",
        "come near",
    ),
    "away": _verbs(
        "move away from",
        "run away from",
        "back away from",
        "flee from",
        "go away from",
        "retreat from",
        "escape from",
        "get away from",
        "fly away from",
    ),
}
EACH_OTHER = {
    "towards": _verbs(
        "move towards each other",
        "approach each other",
        "come together",
        "meet",
        "go towards each other",
        "get closer to each other",
    ),
    "away": _verbs(
        "move away from each other",
        "run away from each other",
        "move apart",
        "drift apart",
        "go apart",
        "separate",
        "go away from each other",
    ),
}
BEFORE = {  # adverbs that may stand before the verb, then those that may not
    "slow": ("slowly", "slowly", "gently", "gradually", "calmly", "lazily"),
    "fast": ("quickly", "quickly", "rapidly", "swiftly", "speedily", "hastily"),
}
AFTER = {
    "slow": (
        "slowly",
        "slowly",
        "at a slow pace",
        "in slow motion",
        "at low speed",
        "very slowly",
        "at a leisurely pace",
    ),
    "fast": (
        "fast",
        "quickly",
        "at high speed",
        "at a fast pace",
        "at top speed",
        "very fast",
        "really fast",
        "in a hurry",
    ),
}

ACROSS = {"left": ("left", "left-hand"), "right": ("right", "right-hand")}
HEIGHT = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}
CENTER = ("in the middle", "in the center", "in the centre", "in the middle of the screen")
MIDWAY = {"x": ("horizontally centred", "horizontally centered"), "y": ("at mid-height",)}
DEPTHS = {"behind": ("behind",), "front": ("in front of",)}
SIDES = {
    "left": ("to the left of", "on the left side of", "left of", "on the left of"),
    "right": ("to the right of", "on the right side of", "right of", "on the right of"),
    "above": ("above",),
    "below": ("below", "underneath", "under", "beneath"),
}
INVERSE = {
    **{"behind": "front", "front": "behind"},
    **{"left": "right", "right": "left", "above": "below", "below": "above"},
}
CAMERAS = {  # the first goes without saying whose movement it is
    "pan_left": _verbs("pan left", "pan to the left", "move left", "turn left", "sweep left"),
    "pan_right": _verbs("pan right", "pan to the right", "move right", "turn right", "sweep right"),
    "pan_up": _verbs("pan up", "pan upwards", "tilt up", "move up", "look up"),
    "pan_down": _verbs("pan down", "pan downwards", "tilt down", "move down", "look down"),
    "zoom_in": _verbs("zoom in", "zoom in", "move closer", "push in", "get closer"),
    "zoom_out": _verbs("zoom out", "zoom out", "pull back", "pull out", "move back"),
}
LINKS = {
    "fade": (
        ("fade", "fades"),
        ("crossfade", "crossfades"),
        ("cross-fade", "cross-fades"),
        ("dissolve", "dissolves"),
    ),
    "wipe": (("wipe", "wipes"),),
}
