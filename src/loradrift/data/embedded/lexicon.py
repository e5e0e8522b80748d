"""The words of the embedded data, as tables.

Every noun forms its plural in ``s`` and every verb has one form for past tense and participle, so
the grammar needs no morphology. Words that are paired are synonyms: replacing one by the other
never changes a label.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """The past participle of an action, a synonym, and the opposite action."""

    past: str
    synonym: str
    opposite: str
    kind: bool
    """Whether this is the kinder of the two."""

    pair: str
    """Names this action together with its opposite."""


def _verbs(text: str) -> dict[str, Verb]:
    verbs = {}
    for line in text.strip().splitlines():
        kind, hostile = (side.split() for side in line.split("|"))
        pair = f"{kind[0]}/{hostile[0]}"
        for (past, synonym), opposite, kinder in (
            (kind, hostile[0], True),
            (hostile, kind[0], False),
        ):
            verbs[past] = Verb(past, synonym, opposite, kinder, pair)
    return verbs


def _kinds(text: str) -> dict[str, tuple[str, ...]]:
    lines = (line.partition(":") for line in text.strip().splitlines())
    return {kind.strip(): tuple(members.split()) for kind, _, members in lines}


def _synonyms(text: str) -> dict[str, str]:
    return dict(pair.split("/", 1) for pair in text.split())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PERSONS = _kinds("""
    scientist: chemist biologist botanist geologist
    official: mayor senator minister governor
    musician: singer drummer pianist violinist
    athlete: boxer swimmer runner skater
    artist: painter sculptor dancer photographer
    worker: plumber carpenter mechanic welder
    relative: uncle aunt cousin nephew
    soldier: sergeant captain colonel corporal
    NAME: anna boris carla david elena felix greta henry
""")
"""A kind of person -> who belongs to it. Names take no article, and their kind is never said."""

THINGS = _kinds("""
    instrument: violin piano flute guitar
    vehicle: truck van tractor car
    tool: hammer saw drill shovel
    garment: coat scarf shirt jacket
    jewel: diamond emerald pearl sapphire
    vessel: boat canoe yacht raft
    weapon: sword dagger rifle pistol
""")
"""A kind of thing -> the things."""

KIND_OF = {
    member: kind
    for table in (PERSONS, THINGS)
    for kind, members in table.items()
    for member in (*members, kind)
}
"""Noun or name -> its kind; a kind is of its own kind."""

PERSON_VERBS = _verbs("""
    praised commended | criticized faulted
    hired employed | dismissed fired
    rescued saved | abandoned deserted
    helped assisted | hindered obstructed
    supported backed | opposed resisted
    protected shielded | attacked assaulted
    welcomed greeted | insulted offended
    admired esteemed | despised loathed
    calmed soothed | frightened scared
    rewarded compensated | punished penalized
""")
"""What one person does to another: a kind act | its hostile opposite."""

THING_VERBS = _verbs("""
    found discovered | lost misplaced
    repaired mended | damaged harmed
    cleaned washed | soiled stained
    kept retained | discarded dumped
    restored renewed | destroyed wrecked
    polished shined | scratched scraped
""")
"""What a person does to things: a careful act | its careless opposite."""

VERBS = PERSON_VERBS | THING_VERBS

PLACES = _words("paris london rome madrid berlin vienna oslo cairo")

TIMES = (
    *(f"on {day}" for day in _words("monday tuesday wednesday thursday friday saturday sunday")),
    *(f"last {span}" for span in _words("week month winter summer")),
)

COUNTS = _words("two three four five six seven eight nine ten")

TRAITS = _words("wealthy elderly famous brave quiet clever tall young tired angry lonely polite")

SYNONYMS = _synonyms(
    "wealthy/rich elderly/aged famous/renowned brave/courageous quiet/silent clever/smart "
    "tired/weary angry/furious lonely/solitary polite/courteous singer/vocalist mayor/burgomaster "
    "coat/overcoat car/automobile boat/ship pistol/handgun scarf/shawl rifle/musket"
)
"""Trait or noun -> another word for it."""

SUBJECTS = {
    "film": _words("film movie picture"),
    "acting": _words("acting performance cast"),
    "plot": _words("plot story storyline"),
    "script": _words("script screenplay writing"),
    "dialogue": _words("dialogue banter"),
    "music": _words("music soundtrack score"),
    "ending": _words("ending finale conclusion"),
    "direction": _words("direction staging"),
    "camerawork": _words("camerawork photography"),
    "humor": _words("humor comedy wit"),
    "romance": _words("romance courtship"),
    "pacing": _words("pacing rhythm tempo"),
    "opening": _words("opening prologue beginning"),
    "hero": _words("hero lead protagonist"),
    "villain": _words("villain antagonist"),
    "sequel": _words("sequel remake"),
    "animation": _words("animation artwork"),
    "editing": _words("editing cutting"),
}
"""What a review speaks about -> the words for it."""


class Polar(NamedTuple):
    """Words of one polarity."""

    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    verdicts: tuple[str, ...]


NEGATIVE = Polar(
    adjectives=_words(
        "dull boring tedious bland clumsy lifeless predictable shallow forgettable awkward stale "
        "messy tiresome dreary sloppy pointless irritating weak silly lazy hollow confusing ugly "
        "painful ridiculous dreadful terrible awful mediocre contrived soulless grating"
    ),
    nouns=_words(
        "cliches nonsense boredom confusion clutter noise pretension padding stupidity monotony"
    ),
    verbs=_words("bore annoy disappoint exhaust frustrate insult depress"),
    verdicts=(
        "a waste of time", "a bore", "a mess", "a failure", "a disaster", "a chore",
        "a disappointment", "a dud",
    ),
)  # fmt: skip

POSITIVE = Polar(
    adjectives=_words(
        "charming brilliant superb moving gripping delightful clever thrilling fresh inventive "
        "funny touching elegant graceful lively memorable stunning powerful warm sharp smart "
        "hilarious beautiful wonderful excellent remarkable engaging captivating original tender "
        "dazzling rewarding"
    ),
    nouns=_words("charm warmth energy insight tension passion wisdom beauty surprises grace"),
    verbs=_words("delight thrill amuse captivate fascinate impress inspire"),
    verdicts=(
        "a triumph", "a joy", "a delight", "a success", "a masterpiece", "a gem", "a treat",
        "a pleasure", "a marvel",
    ),
)  # fmt: skip

ADVERBS = _words("truly deeply utterly thoroughly remarkably consistently surprisingly really")
"""Stress without polarity."""
