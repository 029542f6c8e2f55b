"""The vocabulary of ``english``: words for every value of an outline.

No word means two values of a slot. A word twice is twice as likely. A verb is its four forms
(``move``, ``moves``, ``move`` after a plural, ``moving``).
"""

from jaxvid.data.english_nouns import CUTE as CUTE
from jaxvid.data.english_nouns import GRAPH_PAPER as GRAPH_PAPER
from jaxvid.data.english_nouns import GROUNDS as GROUNDS
from jaxvid.data.english_nouns import HOURS as HOURS
from jaxvid.data.english_nouns import NUMBERS as NUMBERS
from jaxvid.data.english_nouns import ORDINALS as ORDINALS
from jaxvid.data.english_nouns import PAIRS as PAIRS
from jaxvid.data.english_nouns import PATTERNS as PATTERNS
from jaxvid.data.english_nouns import ROOMS as ROOMS
from jaxvid.data.english_nouns import SURFACES as SURFACES
from jaxvid.data.english_nouns import THINGS as THINGS
from jaxvid.data.english_nouns import TIMES as TIMES
from jaxvid.data.english_nouns import WITHIN as WITHIN
from jaxvid.data.english_nouns import WORDS as WORDS
from jaxvid.data.english_nouns import of as _of

Verb = tuple[str, str, str, str]
Verbs = tuple[Verb, ...]

_DOUBLED = (
    *("hop", "sit", "get", "spin", "run", "stop", "drop", "zip", "pan", "bob", "swim", "plod"),
)


def verb(phrase: str) -> Verb:
    """The four forms of a verb phrase, its first word being inflected."""
    word, _, rest = phrase.partition(" ")
    rest = rest and f" {rest}"
    s = word + ("es" if word.endswith(("s", "x", "sh", "ch", "o")) else "s")
    s = f"{word[:-1]}ies" if word.endswith(("ly", "ry")) else s
    stem = word[:-1] if word.endswith("e") and not word.endswith("ee") else word
    ing = f"{stem}{stem[-1] if word in _DOUBLED else ''}ing"
    if rest == f" and {word}":  # "jumps and jumps"
        return word + rest, f"{s} and {s}", word + rest, f"{ing} and {ing}"
    during = rest[1:] if word == "keep" and rest.endswith("ing") else ing + rest
    return word + rest, s + rest, word + rest, during


def _verbs(text: str) -> Verbs:
    return tuple(verb(phrase) for phrase in _of(text))


GO = _verbs(
    "move, move, move, go, go, slide, travel, glide, fly, head, drift, float, shift, move, move, "
    "go, roll, run, walk, sail, swim, proceed, march, coast, cruise, fly, slide, scoot, wander"
)
HURRY = {
    "slow": _verbs("crawl, creep, inch, plod, trudge, amble"),
    "fast": _verbs("dash, race, rush, dart, zip, speed, shoot, sprint, zoom, bolt, hurry"),
}
_OPPOSITE = {"left": "right", "right": "left"}
WAYS = {
    **{
        way: _of(
            f"{way}, {way}, to the {way}, to the {way}, to the {way}, {way}wards, {way}ward, "
            f"from {other} to {way}, towards the {way}, over to the {way}, toward the {way}, "
            f"to the {way} side, towards the {way} edge, to {way}, from the {other} to the {way}, "
            f"across to the {way}, sideways to the {way}, to the {way}-hand side, "
            f"off to the {way}, across the screen to the {way}, in the {way} direction"
        )
        for way, other in _OPPOSITE.items()
    },
    "up": _of(
        "up, upwards, upward, towards the top, straight up, up, upwards, to the top, "
        "toward the top, from bottom to top, skyward, up into the sky, vertically up, "
        "into the air, up and up, higher and higher, up the screen, to the sky, northwards"
    ),
    "down": _of(
        "down, downwards, downward, towards the bottom, straight down, down, downwards, "
        "to the bottom, toward the bottom, from top to bottom, to the ground, vertically down, "
        "towards the ground, lower and lower, down and down, down the screen, southwards"
    ),
    **{
        f"{up}_{way}": _of(
            f"to the {upper} {way}, towards the {top} {way}, diagonally {up} to the {way}, "
            f"{up} {way}, to the {top} {way}, {up} and to the {way}, {up}-{way}, "
            f"toward the {upper} {way}, {up} and {way}, to the {top} {way} corner, "
            f"towards the {upper} {way} corner, diagonally {up} and {way}, {way} and {up}, "
            f"diagonally to the {upper} {way}, diagonally {up} {way}, {up}ward to the {way}, "
            f"to the {way} and {up}, {north}{'east' if way == 'right' else 'west'}, "
            f"to the {upper} {way}, in the {upper} {way} direction, into the {top} {way} corner"
        )
        for up, top, upper, north in (
            ("up", "top", "upper", "north"),
            ("down", "bottom", "lower", "south"),
        )
        for way in _OPPOSITE
    },
}
ACTS = {
    "up": _verbs("rise, climb, ascend, rise up, soar, lift off, take off, levitate"),
    "down": _verbs("fall, sink, descend, drop down, drop, plunge, fall down, come down, tumble"),
    "bounce": _verbs(
        "bounce, bounce up and down, hop, jump, jump up and down, bob up and down, "
        "leap up and down, bounce, jump, bounce around, go up and down, move up and down, "
        "hop up and down, jump around, bounce in place, keep bouncing, keep jumping, "
        "spring up and down, jump on the spot, hop, hop and hop, jump and jump, bounce again and "
        "again, hop around, leap, bounce repeatedly, hop in place"
    ),
    "orbit": _verbs(
        "move in a circle, go round in circles, circle around, move in circles, "
        "spin around in a circle, go round and round, loop around, run in circles, "
        "follow a circular path, go around in a circle, move around in circles, circle, orbit, "
        "revolve, go in circles, go in a circle, fly in circles, fly in a circle, "
        "spin in circles, trace a circle, do loops, whirl around, twirl around, "
        "rotate in a circle, run around in circles, loop, keep circling, go around and around, "
        "circle round, swing around in a circle, run laps, circle around and around"
    ),
    "zoom_in": _verbs(
        "grow, get bigger, get larger, expand, swell, become bigger, get bigger and bigger, "
        "grow larger, inflate, increase in size, scale up, grow, get bigger, enlarge, "
        "grow bigger, become larger, grow in size, get huge, become huge, balloon, puff up, "
        "keep growing, become bigger and bigger, swell up, blow up, get larger and larger, "
        "grow and grow, double in size, grow steadily"
    ),
    "zoom_out": _verbs(
        "shrink, get smaller, contract, become smaller, get smaller and smaller, "
        "decrease in size, scale down, shrink, shrink, get smaller, shrink down, grow smaller, "
        "become tiny, get tiny, dwindle, diminish, reduce in size, keep shrinking, "
        "become smaller and smaller, shrivel, shrivel up, deflate, shrink and shrink, get tinier, "
        "shrink away, become tinier"
    ),
    "still": (
        *_verbs(
            "stay still, stand still, stay still, stand still, stay put, stay in place, "
            "remain still, keep still, sit still, rest, stay motionless, do nothing, stay, "
            "hold still, remain motionless, remain in place, stay there, "
            "hover in place, stay fixed, stand there, stay on the spot, wait, sit motionless, "
            "sit there, stay completely still"
        ),
        ("not move", "does not move", "do not move", "not moving"),
        ("not move", "doesn't move", "don't move", "not moving"),
        ("not move", "isn't moving", "aren't moving", "not moving"),
        ("not move", "is not moving", "are not moving", "not moving"),
        ("be still", "is still", "are still", "standing still"),
        *(("be still", "is still", "are still", "still"),) * 4,
        ("stay where it is", "stays where it is", "stay where they are", "staying put"),
        ("not do anything", "does nothing", "do nothing", "doing nothing"),
        ("just sit there", "just sits there", "just sit there", "just sitting there"),
        ("just stand still", "just stands still", "just stand still", "just standing still"),
        ("never move", "never moves", "never move", "never moving"),
        ("not budge", "doesn't budge", "don't budge", "not budging"),
        ("not move at all", "does not move at all", "do not move at all", "not moving at all"),
        ("not go anywhere", "doesn't go anywhere", "don't go anywhere", "not going anywhere"),
        *(
            (f"be {how}", f"is {how}", f"are {how}", how)
            for how in ("motionless", "stationary", "static", "at rest", "immobile")
        ),
    ),
}
TRAVELS = (*WAYS, "bounce", "orbit")  # "hops to the left of" would say where it goes
PARTICIPLES = {
    **{"bounce": ("bouncing", "jumping", "hopping"), "zoom_in": ("growing", "expanding")},
    **{"zoom_out": ("shrinking", "contracting"), "orbit": ("circling", "orbiting", "revolving")},
    **{"up": ("rising", "ascending"), "down": ("falling", "sinking")},
    "still": ("motionless", "stationary", "static", "unmoving"),
}
STOP = (
    *_verbs(
        "stop, stop, come to a stop, freeze, halt, stand still, stop moving, come to rest, pause, "
        "come to a halt, stop, freeze in place, hold still, stay still, stop dead, cease moving, "
        "stay there, stay put, stop there, rest, wait, come to a standstill, remain still, "
        "come to a full stop, stop moving, stand still, stop"
    ),
    ("be still", "is still", "are still", "being still"),
)
GONE = (
    *(("be gone", "is gone", "are gone", "gone"),) * 3,
    *_verbs(
        "disappear, disappear, vanish, leave the screen, leave the frame, leave, exit the frame, "
        "leave the scene, go off screen, vanish from view, disappear, vanish, go away, exit, "
        "exit the screen, leave the picture, leave the shot, disappear from view, "
        "disappear from the screen, go out of view, go out of the frame, fade away, "
        "get out of the frame, vanish into thin air, disappear completely, vanish, disappear from "
        "sight, vanish from sight, go poof, cease to exist, evaporate, slip out of view"
    ),
)
BE: Verb = ("be", "is", "are", "")
IDLE: Verbs = (
    ("appear", "is visible", "are visible", ""),
    ("appear", "is on the screen", "are on the screen", ""),
    ("appear", "appears", "appear", ""),
    ("appear", "is there", "are there", ""),
    ("appear", "can be seen", "can be seen", ""),
    verb("move around"),
)
ROAM = _verbs("move, move around, move around, move about, roam around")
TO = {
    "towards": _verbs(
        "move towards, go towards, approach, head for, come closer to, get closer to, "
        "run towards, move toward, fly towards, come near, chase, chase after, come towards, "
        "come toward, go to, move to, head towards, go over to, close in on, draw near to, "
        "walk towards, move towards, move closer to, float towards, pursue, follow, run after, "
        "go after, come up to, advance towards, roll towards, roll toward"
    ),
    "away": _verbs(
        "move away from, run away from, back away from, flee from, go away from, retreat from, "
        "escape from, get away from, fly away from, move away from, drift away from, "
        "float away from, head away from, slide away from, move off from, come away from, "
        "walk away from, avoid, run from, flee, withdraw from, pull away from, roll away from, "
        "try to get away from, evade"
    ),
}
TO_ALONE = {  # of whom the other one was just said to chase, or to flee
    "towards": _verbs("follow, give chase, follow along"),
    "away": _verbs("flee, run away, escape, back away, retreat, get away, run off, back off"),
}
NEITHER = ("neither moves", "nothing moves", "neither of them moves", "both stand still")
EACH_OTHER = {
    "towards": _verbs(
        "move towards each other, approach each other, come together, meet, "
        "go towards each other, get closer to each other, move towards one another, "
        "move toward each other, come towards each other, come closer together, "
        "move closer to each other, approach one another, fly towards each other, "
        "get closer together, move together, run towards each other"
    ),
    "away": _verbs(
        "move away from each other, run away from each other, move apart, drift apart, go apart, "
        "separate, go away from each other, move away from one another, split up, "
        "get farther apart, fly apart, move farther apart, go separate ways, part, "
        "move apart from each other, back away from each other, go in opposite directions"
    ),
}
BEFORE = {  # adverbs that may stand before the verb, then those that may not
    "slow": _of("slowly, slowly, gently, gradually, calmly, lazily, leisurely, unhurriedly"),
    "fast": _of("quickly, quickly, rapidly, swiftly, speedily, hastily, briskly, hurriedly, fast"),
}
AFTER = {
    "slow": _of(
        "slowly, slowly, at a slow pace, in slow motion, at low speed, very slowly, "
        "at a leisurely pace, slow, slow, with low speed, at a snail's pace, at a slow speed, "
        "bit by bit, super slowly, little by little, without hurry, so slowly, at a crawl"
    ),
    "fast": _of(
        "fast, quickly, at high speed, at a fast pace, at top speed, very fast, really fast, "
        "in a hurry, super fast, so fast, with high speed, at full speed, at great speed, "
        "in a flash, very quickly, real quick, like lightning, at a high speed, with great speed"
    ),
}

ACROSS = {s: (s, s, f"{s}-hand", f"far {s}") for s in ("left", "right")}
HEIGHT = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}
CENTER = (
    *("in the middle", "in the center", "in the centre", "in the middle of the screen"),
    *("at the center", "at the centre", "in the middle of the frame", "right in the middle"),
    *("in the center of the screen", "in the middle of the picture", "dead center"),
)
OF_SCREEN = ("of the screen", "of the frame", "of the picture")  # after "on the left"
MIDWAY = {"x": ("horizontally centred", "horizontally centered"), "y": ("at mid-height",)}
DEPTHS = {
    "behind": (
        *("behind", "behind", "behind", "behind", "in back of", "half hidden behind"),
        *("partly behind", "at the back of", "further back than"),
    ),
    "front": (
        *("in front of",) * 5,
        "closer to us than",
        "nearer to us than",
        "further forward than",
    ),
}
FAR = ("in the back", "in the background", "at the back")
NEAR = ("in front", "in the foreground", "in the front")
SIDES = {
    "left": _of("to the left of, on the left side of, left of, on the left of, just left of"),
    "right": _of("to the right of, on the right side of, right of, on the right of, just right of"),
    "above": ("above", "above", "just above", "higher than", "higher up than"),
    "below": ("below", "underneath", "under", "beneath", "just below", "lower than"),
}
INVERSE = {
    **{"behind": "front", "front": "behind"},
    **{"left": "right", "right": "left", "above": "below", "below": "above"},
}
CAMERAS = {  # the first two go without saying whose movement it is
    **{
        f"pan_{way}": _verbs(
            f"pan {way}, pan to the {way}, move {way}, turn {way}, sweep {way}, slide {way}, "
            f"pan towards the {way}, swing {way}, move to the {way}, track {way}, go {way}"
        )
        for way in _OPPOSITE
    },
    "pan_up": _verbs(
        "pan up, pan upwards, tilt up, move up, look up, rise, go up, move upwards, pan up, "
        "pan towards the top, slide up, turn up"
    ),
    "pan_down": _verbs(
        "pan down, pan downwards, tilt down, move down, look down, sink, go down, move downwards, "
        "pan down, pan towards the bottom, slide down, lower, turn down"
    ),
    "zoom_in": _verbs(
        "zoom in, zoom in, move closer, push in, get closer, dolly in, come closer, close in, "
        "move in, zoom closer, go closer, move nearer"
    ),
    "zoom_out": _verbs(
        "zoom out, zoom out, pull back, pull out, move back, dolly out, zoom back, draw back, "
        "back away, move away, go back, move farther away, back up"
    ),
}
LINKS = {
    "fade": (
        *(("fade", "fades"), ("crossfade", "crossfades"), ("cross-fade", "cross-fades")),
        *(("dissolve", "dissolves"), ("blend", "blends"), ("fade", "fades"), ("fade", "fades")),
        *(("melt", "melts"), ("dissolve", "dissolves")),
    ),
    "wipe": (("wipe", "wipes"), ("wipe", "wipes"), ("swipe", "swipes")),
}
