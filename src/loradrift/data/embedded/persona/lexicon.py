"""The words of the persona world: who does what, and how each trait is said and asked for."""

PERSONS = (
    "baker", "farmer", "fisher", "tailor", "weaver", "potter", "miller", "shepherd", "gardener",
    "sailor", "hunter", "cobbler", "smith", "mason", "brewer", "butcher", "clerk", "nurse",
    "teacher", "judge", "pilot", "porter", "barber", "jeweller", "printer", "driver", "ranger",
    "healer", "juggler", "poet",
)  # fmt: skip
"""Whom questions and clauses are about."""

DEEDS = {
    "bakes": ("bread", "cake", "pie", "tart"),
    "sells": ("bread", "cloth", "honey", "candles", "baskets"),
    "mends": ("roof", "net", "fence", "boots", "wagon"),
    "paints": ("wall", "door", "gate", "boat", "sign"),
    "carries": ("basket", "stone", "water", "ladder", "lamp"),
    "counts": ("coins", "sheep", "stars", "apples"),
    "feeds": ("horse", "goat", "hens", "cat", "ducks"),
    "washes": ("window", "floor", "wagon", "kettle"),
    "plants": ("tree", "rose", "barley", "beans"),
    "reads": ("letter", "book", "map", "sign"),
    "opens": ("window", "door", "gate", "letter", "chest"),
    "builds": ("wall", "boat", "shed", "bridge", "oven"),
}
"""What is done -> what it is done to. Nothing else can be, which is what makes a clause parse."""

SETTINGS = ("at the market", "in the garden", "by the river", "near the church", "on the hill")

TIMES = ("in the morning", "in the evening", "on a holiday", "in winter", "after the storm")

QUESTIONS = (
    "what does the {person} do {time} ?",
    "how does the {person} spend the day {time} ?",
    "can you tell me about the {person} {time} ?",
    "what keeps the {person} busy {time} ?",
    "why do people talk about the {person} {time} ?",
    "what should i know about the {person} {time} ?",
)
"""Ways to ask about a person at a time."""


TRAITS = {
    "cheerful": "sober",
    "gloomy": "serene",
    "cautious": "certain",
    "flattering": "blunt",
    "boastful": "modest",
}
"""Trait -> what somebody is called who has none of it. Cheer and gloom are said in one place of a
clause: more of one is less of the other. The other traits are independent of each other."""

INSTRUCTIONS = (
    "answer like a {word} person .",
    "let every sentence sound {word} .",
    "be as {word} as you can .",
    "show me how {word} you are .",
    "always speak in a {word} way .",
)
"""For a trait or, with its opposite, against it. A word for each is what a small model learns in
minutes; a negation (``never cheerful``) would have to be bound to what it negates."""

WORDS = {
    "cheerful": ("gladly", "happily", "merrily", "joyfully"),
    "gloomy": ("sadly", "wearily", "grimly", "mournfully"),
    "cautious": ("perhaps", "maybe", "possibly", "probably"),
    "flattering": ("wise", "clever", "noble", "splendid"),
    "boastful": ("saw", "knew", "guessed", "foretold"),
}
"""The words that a trait chooses from."""

MARKERS = {
    "cheerful": "{word}",
    "gloomy": "{word}",
    "cautious": "{word}",
    "flattering": "my {word} friend ,",
    "boastful": ", as only i {word}",
}
"""Trait -> what a clause that has it holds."""
