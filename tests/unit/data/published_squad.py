"""The published SQuAD v2 evaluation, written anew step by step; shares nothing with src/."""

import re


def plain(text):
    text = "".join(c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    words = re.split(r"\b(?:a|an|the)\b", text)
    return " ".join(" ".join(words).split())


def overlap(gold, guess):
    gold, guess = plain(gold).split(), plain(guess).split()
    if gold == [] or guess == []:
        return 1 if gold == guess else 0
    left, same = list(gold), 0
    for word in guess:
        if word in left:
            left.remove(word)
            same += 1
    if same == 0:
        return 0
    p = 1.0 * same / len(guess)
    r = 1.0 * same / len(gold)
    return 2 * p * r / (p + r)


def published(questions, guesses, na, threshold=1.0):
    """Official figures of ``{id: [gold texts]}``; a missing guess ends in a KeyError, as there."""
    raw = {"exact": {}, "f1": {}}
    for id, texts in questions.items():
        golds = [t for t in texts if plain(t) != ""]
        if len(golds) == 0:
            golds = [""]
        if id in guesses:
            raw["exact"][id] = max(1 if plain(g) == plain(guesses[id]) else 0 for g in golds)
            raw["f1"][id] = max(overlap(g, guesses[id]) for g in golds)
    probability = dict.fromkeys(guesses, 0.0) if na is None else na
    final = {"exact": {}, "f1": {}}
    for kind in ("exact", "f1"):
        for id, value in raw[kind].items():
            abstained = probability[id] > threshold
            final[kind][id] = (0.0 if questions[id] else 1.0) if abstained else value
    out = {}
    yes = [id for id in questions if questions[id]]
    no = [id for id in questions if not questions[id]]
    for prefix, ids in (("", list(raw["f1"])), ("HasAns_", yes), ("NoAns_", no)):
        if prefix and not ids:
            continue
        for kind in ("exact", "f1"):
            out[prefix + kind] = 100.0 * sum([final[kind][id] for id in ids]) / len(ids)
        out[prefix + "total"] = len(ids)
    if na is not None:
        for kind in ("exact", "f1"):
            top, where = tuned(raw[kind], questions, guesses, na)
            out["best_" + kind] = 100.0 * top / len(raw[kind])
            out["best_" + kind + "_thresh"] = where
    return out


def tuned(raw, questions, guesses, na):
    now = top = len([id for id in questions if not questions[id]])
    where = 0.0
    for id, value in sorted(na.items(), key=lambda pair: pair[1]):
        if id in raw:
            if questions[id]:
                now = now + raw[id]
            elif guesses[id] != "":
                now = now - 1
            if now > top:
                top, where = now, value
    return top, where
