"""The nouns and adjectives of ``english``: what looks and backgrounds are called.

No word means two values of a slot. A word twice is twice as likely.
"""


def of(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(text.split(", "))


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "kind": {
        "circle": of(
            "circle, circle, disc, dot, ball, disk, bubble, sphere, orb, round shape, circle, "
            "ball, ball, round thing, circular shape, globe, spot, marble"
        ),
        "square": of(
            "square, square, box, block, cube, tile, square, square shape, box, square, "
            "four-sided shape, square thing, crate"
        ),
        "triangle": (
            *(*("triangle",) * 7, "triangular shape", "pyramid", "three-sided shape"),
            *("triangular thing", "wedge", "three-cornered shape"),
        ),
        "star": of(
            "star, star, star, five-pointed star, pentagram, star, star shape, star, star, "
            "star-shaped thing, starlet, pointy star"
        ),
        "diamond": of(
            "diamond, diamond, rhombus, lozenge, diamond, diamond shape, diamond, gem, jewel, "
            "gemstone, rhomb, diamond-shaped thing"
        ),
        "cross": of(
            "cross, cross, plus, plus sign, plus symbol, cross shape, plus-shaped thing, cross, "
            "cross, plus, cross-shaped thing, plus shape, plus mark"
        ),
        "ring": of(
            "ring, ring, hoop, donut, doughnut, ring, annulus, ring shape, torus, ring, ring, "
            "donut, bagel, tire, hollow circle, ring-shaped thing, circlet"
        ),
        "heart": of(
            "heart, heart, love heart, heart, heart, heart shape, valentine heart, valentine, "
            "heart, heart-shaped thing, heart symbol, valentine"
        ),
    },
    "color": {
        "red": of(
            "red, red, red, red, crimson, scarlet, ruby, bright red, dark red, cherry red, red, "
            "ruby-red, blood-red, reddish, vermilion, brick red, deep red"
        ),
        "orange": of(
            "orange, orange, orange, orange, tangerine, bright orange, orange, pumpkin orange, "
            "apricot, carrot orange, dark orange, orangish"
        ),
        "yellow": of(
            "yellow, yellow, yellow, yellow, gold, golden, lemon, bright yellow, yellow, "
            "lemon-yellow, yellowish, sunny yellow, canary yellow, light yellow, mustard"
        ),
        "green": of(
            "green, green, green, emerald, lime green, bright green, dark green, lime, green, "
            "green, light green, grass-green, forest green, olive, jade, greenish, mint green"
        ),
        "cyan": of(
            "cyan, turquoise, teal, aqua, cyan, cyan, aquamarine, blue-green, cyan, cyan, "
            "bright cyan, greenish-blue"
        ),
        "blue": of(
            "blue, blue, blue, navy, royal blue, cobalt, dark blue, bright blue, sapphire, blue, "
            "blue, navy blue, deep blue, ocean-blue, ultramarine, cobalt blue"
        ),
        "purple": of(
            "purple, purple, purple, violet, lilac, lavender, mauve, plum, purple, purple, "
            "dark purple, bright purple, purplish, amethyst, light purple, grape purple"
        ),
        "pink": of(
            "pink, pink, pink, pink, rose, hot pink, light pink, bright pink, rosy, pink, "
            "rose pink, pinkish, bubblegum pink, pale pink, fuchsia"
        ),
    },
    "size": {
        "small": of(
            "small, small, little, tiny, mini, miniature, wee, teeny, very small, petite, small, "
            "tiny, little, really small, quite small, tiny little, minuscule, itty-bitty, "
            "small-sized, teensy, smallish, super small, pint-sized"
        ),
        "medium": of(
            "medium, medium, medium-sized, mid-sized, middle-sized, average-sized, medium, "
            "normal-sized, regular-sized, moderate, medium-size, medium, mid-size, "
            "moderately sized, ordinary-sized, middling"
        ),
        "large": of(
            "large, big, big, huge, giant, enormous, massive, gigantic, large, big, very big, "
            "really big, great big, large-sized, humongous, jumbo, very large, quite big, "
            "super big, oversized, colossal, extra large, kinda big, "
            "big old, sizable, hefty, really large"
        ),
    },
    "tone": {
        "light": of(
            "light, light, white, bright, pale, light-colored, whitish, well-lit, bright, "
            "light-toned, off-white, brightly lit, snow-white, sunlit"
        ),
        "dark": of(
            "dark, dark, dark, black, dim, gloomy, dark-colored, pitch-black, shadowy, dark, "
            "black, jet-black, dark-toned, murky, unlit, very dark"
        ),
        "warm": of(
            "warm, warm, beige, sandy, warm, warm-toned, warm-colored, cozy, tan, earthy, warm, "
            "cosy, warm-hued, cream-colored"
        ),
        "cool": of(
            "cool, cool, cold, grey-blue, blue-grey, cool-toned, chilly, icy, bluish, cool, cold, "
            "cool-colored, frosty, wintry, cool-hued"
        ),
    },
}
THINGS = ("shape", "shape", "object", "thing", "figure", "item", "form")  # a kind that nobody named
CUTE = ("cute", "nice", "simple", "lovely", "funny", "pretty", "happy", "beautiful", "shiny")
ORDINALS = ("first", "second", "third")
NUMBERS = ("one", "two", "three")
PAIRS = ("two", "two", "2", "a pair of", "a couple of")

PATTERNS = {  # before "background"
    "plain": of(
        "plain, plain, solid, uniform, flat, empty, clean, single-colored, one-color, plain, "
        "blank, bare, featureless, unpatterned"
    ),
    "gradient": of("gradient, gradient, graded, gradient-filled, gradient, ombre, shaded"),
    "grid": of(
        "grid, checkered, gridded, checked, checkerboard, squared, tiled, grid, graph-paper, "
        "chequered, chessboard, grid-patterned"
    ),
    "noise": of(
        "textured, noisy, cloudy, grainy, speckled, mottled, rough, noise, noisy, gritty, dusty, "
        "fuzzy, spotty"
    ),
}
GRAPH_PAPER = "graph paper"  # a surface without an article
SURFACES = {
    "gradient": ("gradient", "gradient", "color gradient", "smooth gradient"),
    "grid": (
        *("grid", "grid", "grid", "lattice", "checkerboard", "chessboard", "mesh", GRAPH_PAPER),
        *(GRAPH_PAPER, "sheet of graph paper", "grid pattern"),
    ),
    "noise": ("noise texture", "rough texture", "grainy texture", "noise pattern"),
}
GROUNDS = (*("background",) * 4, "backdrop", "backdrop", "bg", "bg")
ROOMS = ("room", "room", "space", "place", "hall", "studio", "world")  # "in a dark room"
WITHIN = {  # after "background with"
    "grid": (
        *("a grid", "grid lines", "a grid pattern", "a checkered pattern", "crossing lines"),
        *("a checkerboard pattern", "a grid on it"),
    ),
    "plain": ("no pattern", "nothing on it"),
    "noise": (
        *("noise", "grain", "a rough texture", "some texture", "some noise", "a grainy texture"),
        "film grain",
    ),
    "gradient": ("a gradient", "a color gradient", "a smooth gradient", "a soft gradient"),
}
TIMES = {  # before "background" or "sky"
    **{"dark": ("night", "nighttime", "midnight"), "light": ("daytime", "daylight")},
    **{"warm": ("sunset", "desert", "summer"), "cool": ("winter", "arctic")},
}
HOURS = {  # said of a whole shot
    "dark": ("at night", "in the dark", "at midnight", "in the darkness"),
    "light": ("in bright light", "in broad daylight", "by day"),
    "warm": ("at sunset", "in warm light", "in warm colors"),
    "cool": ("in cool light", "in the cold", "in cool colors"),
}
