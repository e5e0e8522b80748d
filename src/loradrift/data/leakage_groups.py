"""Which rows are pieces of one text, so that none is trained on while another is held out."""

from collections import Counter, defaultdict
from collections.abc import Sequence


def leakage_groups(texts: Sequence[str]) -> list[int]:
    """For each text, the index of the longest one that contains it whole; itself if none does.

    SST-2's training rows are the phrases of whole sentences: the phrases belong to their sentence.
    RTE repeats a premise with several hypotheses. A phrase of several sentences goes to the longest
    (the first of equals), so texts with the same answer are one family.

    Args:
        texts: Words separated by white space.
    """
    words = [text.split() for text in texts]
    padded = [f" {' '.join(each)} " for each in words]
    frequency = Counter(word for each in words for word in set(each))
    # A container holds the rarest word too: few need to be looked at.
    containers: defaultdict[str, list[int]] = defaultdict(list)
    root = list(range(len(texts)))
    for i in sorted(root, key=lambda i: (-len(words[i]), i)):
        rarest = min(words[i], key=frequency.__getitem__)
        found = next((j for j in containers[rarest] if padded[i] in padded[j]), None)
        if found is None:
            for word in set(words[i]):
                containers[word].append(i)
        else:
            root[i] = found
    return root
