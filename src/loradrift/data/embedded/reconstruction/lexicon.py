"""The words of the world of short contexts: what is said of whom, and how it is asked."""

from typing import NamedTuple

PERSONS = (
    "anna", "boris", "carla", "david", "elena", "felix", "greta", "henry", "irene", "jonas",
    "karin", "lukas", "maria", "nadia", "oscar", "paula",
)  # fmt: skip

CITIES = (
    "paris", "london", "rome", "madrid", "berlin", "vienna", "oslo", "cairo", "athens", "dublin",
    "lisbon", "prague", "tokyo", "lima",
)  # fmt: skip

THINGS = (
    "key", "lamp", "coat", "map", "drum", "ladder", "kettle", "clock", "mirror", "basket", "rope",
    "candle", "blanket", "hammer", "flute", "wagon",
)  # fmt: skip

PLACES = tuple(
    f"{kind} {room}"
    for kind in ("old", "green", "small", "upper")
    for room in ("kitchen", "barn", "tower", "garden")
)

COLOURS = (
    "red", "blue", "white", "black", "yellow", "brown", "grey", "pink", "purple", "golden",
    "silver", "orange",
)  # fmt: skip

FOODS = tuple(
    f"{kind} {food}"
    for kind in ("fresh", "sweet", "hot", "cold")
    for food in ("bread", "soup", "tea", "fruit")
)

VEHICLES = (
    "ferry", "train", "bus", "coach", "barge", "tram", "plane", "sledge", "balloon", "caravan",
    "steamer", "truck",
)  # fmt: skip

TIMES = tuple(
    f"{day} {part}"
    for day in ("monday", "tuesday", "friday", "saturday", "sunday")
    for part in ("morning", "noon", "night")
)


class Relation(NamedTuple):
    """What can be said of a subject, and the question whose answer is the value."""

    subjects: tuple[str, ...]
    values: tuple[str, ...]
    statement: str
    question: str


LANGUAGES = (
    "greek", "latin", "dutch", "danish", "polish", "french", "german", "irish", "welsh", "basque",
    "turkish", "finnish",
)  # fmt: skip

PRICES = tuple(
    f"{number} {unit}"
    for number in ("two", "three", "five", "seven", "nine")
    for unit in ("coins", "shells", "pearls")
)

RELATIONS = {
    "city": Relation(PERSONS, CITIES, "{subject} is in {value} .", "where is {subject} ?"),
    "food": Relation(PERSONS, FOODS, "{subject} eats {value} .", "what is eaten by {subject} ?"),
    "language": Relation(
        PERSONS, LANGUAGES, "{subject} speaks {value} .", "what is spoken by {subject} ?"
    ),
    "place": Relation(
        THINGS, PLACES, "the {subject} is in the {value} .", "where is the {subject} ?"
    ),
    "colour": Relation(
        THINGS, COLOURS, "the {subject} is {value} .", "what colour is the {subject} ?"
    ),
    "owner": Relation(
        THINGS, PERSONS, "the {subject} belongs to {value} .", "who owns the {subject} ?"
    ),
    "price": Relation(
        THINGS, PRICES, "the {subject} costs {value} .", "how much is the {subject} ?"
    ),
    "time": Relation(
        VEHICLES, TIMES, "the next {subject} is on {value} .", "when is the next {subject} ?"
    ),
}
"""Relation -> what is said. Every question ends in its subject, at one distance of the answer."""
