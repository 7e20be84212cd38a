"""Defines the patterns of words around a letter that make it an option, deny it, or show that it is none.

The words are English; languages.py has those of other languages.
"""

from __future__ import annotations

import re

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.languages import UNSPACED_STATEMENT

#: Letters that are also English words: an article and a pronoun.
WORD_LETTERS = "AI"

# Matches no letter of a word, an abbreviation, a unit or a note: "I'd", "D.C.", "A/C", "B-flat", "C#", "25 °C".
LETTER = lazy_pattern(
    r"(?<![A-Za-z0-9\u00c0-\u024f\u0300-\u036f&/+#°._-])(?<![A-Za-z]')[A-Za-z]"
    r"(?![A-Za-z0-9\u00c0-\u024f\u0300-\u036f&/+#°_]|'(?![dt][iu\u0131\u00fc]r)[A-Za-z]|[.-][A-Za-z0-9]"
    r"|[ -](?i:major|minor|flat|sharp|maj|min|dur|moll)\b|\s?[\u266f\u266d])"
)

_NOUN = (
    r"(?:answer|ans|choice|option|response|selection|pick|guess|solution|verdict|conclusion|prediction|decision"
    r"|result|output|label|category|class|event|scene|genre|emotion|gender|sound|match|letter|one|fit|candidate)"
)
#: Nouns that name the answer in a sentence, or with a word like "best"; alone before a colon they begin a remark.
_REMARK = r"(?:description|alternative|possibility|interpretation|explanation|statement|caption)"
_BEST = r"(?:best|correct|right|closest|final|likeliest|(?:most|more|best)[ -][a-z]+)"
_ADVERB = (
    r"(?:likely|probably|definitely|clearly|certainly|therefore|thus|most|simply|just|indeed|actually|still|now"
    r"|obviously|surely|also|then|the|option|choice|letter|answer|indicated|given|by|as|in|fact)"
)
_LINK = (
    r"(?:is|was|be|would be|should be|must be|will be|has to be|seems to be|appears to be|looks to be|being"
    r"|could be|might be|may be)"
)
_NAME = r"(?:(?:the|option|choice|letter|answer)\s+)*"

# "the answer I choose is", "the correct option would most likely be"
_NOUN_LINKED = rf"\b(?:{_NOUN}|{_REMARK})\b(?:\s+[a-z][\w'-]+|\s+[ia]\b|\s*\([^()]*\))*\s+{_LINK}\b\s*:?(?:\s+{_ADVERB})*\s*:?\s*\Z"
# "Answer:", "final answer ->", '"answer": "'
_NOUN_COLON = rf"\b(?:{_NOUN}|{_BEST}\s+{_REMARK}|correct|right|selected|chosen|predicted)\b(?:\s*\([^()]*\))?[\"'\s)\]}}]*(?:[:=]+>?|->|=>|[-\u2013\u2014]|\bis\s*:)\s*{_NAME}\Z"
# "I'd say", "let's go with option", "Choose"
_CHOOSING = (
    r"(?:\b(?:i|we|i'd|i'll|i'm|let's|must|would|should|will|shall|could|to|and|then)\s+(?:\w+\s+){0,2}|\A\s*)"
    r"(?:choose|choosing|chose|pick|picking|picked|select|selecting|selected|say|go(?:ing)? (?:with|for)|went with"
    r"|opt(?:ing)? for|settl(?:e|ed|ing) (?:on|for)|vote for|guess|lean(?:ing)? towards?|answer(?: with)?)"
    rf"\s+(?:(?:it's|it is|that it's|is)\s+)?{_NAME}:?\s*\Z"
)
# "I think:", "I would say:", "Probably:", "In my opinion:"
_OPINION_COLON = (
    r"\b(?:(?:i|we|i'd|i'll|i'm|we'd|let's|would|should|will|must)\s+(?:\w+\s+){0,2}"
    r"(?:think|believe|feel|suppose|reckon|hear|say|choose|pick|select|go(?:ing)? (?:with|for)|opt(?:ing)? for|lean(?:ing)? towards?)"
    r"|(?:choose|select|maybe|perhaps|probably|most likely|likely|definitely|certainly|surely)"
    r"|sounds (?:most |more )?like|in my (?:opinion|view))"
    rf"\s*:\s*{_NAME}\Z"
)
# "..., so", "Therefore, it's"
_CONCLUDING = (
    r"\b(?:so|therefore|thus|hence)\b\s*[,:]?\s*"
    rf"(?:(?:i (?:think|believe)|it(?:'s| is| must be| has to be)|that(?:'s| is))\s+)?{_NAME}\Z"
)
#: What stands before a letter that is stated as the answer.
STATEMENTS = (
    *(
        lazy_pattern(pattern, re.IGNORECASE)
        for pattern in (_NOUN_LINKED, _NOUN_COLON, _CHOOSING, _OPINION_COLON, _CONCLUDING)
    ),
    UNSPACED_STATEMENT,
)
#: "option b", "letter a": no article can follow these words. It can follow those of LOOSELY_NAMED.
NAMED = lazy_pattern(r"\b(?:options?|letter)\s*[:#]?\s*\Z", re.IGNORECASE)
#: "is not A, B or D": a letter right after it is denied, and so are those of its list.
RULED_OUT = lazy_pattern(r"\b(?:not|neither)\s+\Z", re.IGNORECASE)
#: "A: 10%, B: 20%": letters that are rated one after the other; the first is not the answer.
RATED = lazy_pattern(
    r"\)?\s*[:=(-]\s*\d+(?:\.\d+)?\s*%?\)?\s*[,;\n]\s*\(?[A-Za-z]\)?\s*[:=(-]\s*\d", re.IGNORECASE
)
LOOSELY_NAMED = lazy_pattern(r"\b(?:choices?|answer)\s*[:#]?\s*\Z", re.IGNORECASE)

SENTENCE = lazy_pattern(r"[;!?]|[.](?=\s)")
#: Thai separates clauses by spaces: one begins before "answer" and "therefore".
CLAUSE = lazy_pattern(
    r"[;!?\n,\u2014\u2013\u3002\uff0c\u2713\u2714\u2705\u0964\u061b\u061f\u060c\u06d4]|(?<=[\u2717\u2718\u274c])|[.](?=\s|\Z)|\s-\s|\s(?=\u0e04\u0e4d\u0e32\u0e15\u0e2d\u0e1a|\u0e14\u0e31\u0e07\u0e19\u0e31\u0e49\u0e19)|\b(?:so|but|because|since|therefore|thus|hence|while|whereas"
    r"|although|though|however|as|for the reason)\b",
    re.IGNORECASE,
)
#: "everything but D" excludes D; any other "but" begins a clause.
EXCEPT = lazy_pattern(r"\b(all|any\w*|every\w*|none|nothing|no one|nobody) but\b", re.IGNORECASE)

QUESTION = lazy_pattern(r"[)\]}\"']*\s*\?")
#: What follows a letter that ends its clause, where no article can stand.
TERMINAL = lazy_pattern(r"\s*(?:\Z|[\n.,;:!?)\]}\"'>\u3002\uff0c]|[-\u2013\u2014](?:\s|\Z))")
CONNECTED = lazy_pattern(r"\s+(?:because|since|as|due|based|given|which|for the)\b", re.IGNORECASE)
PREDICATE = lazy_pattern(
    r"\s+(?:is|was|seems|appears|fits|matches|sounds|must|would|should|can|could|cannot|can't|does|doesn't|isn't"
    r"|wasn't|has)\b",
    re.IGNORECASE,
)
IS = lazy_pattern(r"[)\]}.:,]?\s*(?:is|was|isn't|wasn't|cannot|can't)\b", re.IGNORECASE)
#: "A helyes válasz: C": the article of a clause that announces what follows its colon.
ANNOUNCES = lazy_pattern(r"\s+[^.,;!?\n]*:")
#: "A or", "A, B": another letter shows that this one is a letter too.
ANOTHER = lazy_pattern(r"\s*[)\"']*\s*(?:(?:or|and|nor|not|rather)\b|[,/&]?\s*[A-Z]\b)")
LIST_LINK = lazy_pattern(
    r"[)\]}\"']*\s*(?:[,/+&]\s*(?:or\b|and\b)?|\bor\b|\band\b|\bnor\b|\bor else\b)\s*(?:option |choice |letter )?"
    r"[(\[\"']*\Z",
    re.IGNORECASE,
)
#: What follows a capital at the beginning set apart from the rest; a lower-case letter needs a mark right after it.
SET_APART = lazy_pattern(
    r"[)\]}]?(?:[.):,\u3002\uff1a](?=\s|\Z|[\"'(])|\s+[-\u2013\u2014](?=\s)|[:)]|\s*\n|\s*\Z)"
)
SMALL_SET_APART = lazy_pattern(r"[)\]}]|[.:,](?=\s|\Z)")

DENIED_BEFORE = lazy_pattern(
    r"\b(?:not|no|never|neither|nor|cannot|without|except|excluding|hardly|nobody|none|unlikely|doubt|unsure|if|whether"
    r"|rather than|instead of|as opposed to|unlike|other than|apart from|out|eliminat\w*|exclud\w*|rul\w+ out|avoid"
    r"|reject\w*)\b|n't\b|\bcant\b",
    re.IGNORECASE,
)
DENIED_AFTER = lazy_pattern(
    r"\b(?:not|wrong|incorrect|false|unlikely|impossible|out|never|eliminated|excluded|cannot|neither)\b|n't\b",
    re.IGNORECASE,
)
#: What rejects a letter right after it or its option's text: "B. Dog: incorrect", "B (no)", "B. Dog \u274c".
REJECTED_BEHIND = lazy_pattern(
    r"[)\]\"']*\s*(?:(?:[:=\u2192-]+\s*(?:not\b)?|\()\s*(?:no|wrong|incorrect|false|unlikely|impossible|eliminated|excluded"
    r"|ruled out)\b|[\u2717\u2718\u274c])",
    re.IGNORECASE,
)
#: "C, not D", "C rather than D": the words after it are denied, not the letter before it.
CONTRAST = lazy_pattern(
    r"\s*\(?(?:and )?(?:not|rather than|instead of|over|unlike|as opposed to)\b", re.IGNORECASE
)
#: "It could be B, but": what is granted before a "but" is not the answer.
GRANTED_BEFORE = lazy_pattern(
    r"\b(?:could|might|may|can) (?:also |well |possibly )?(?:be|seem|appear|sound)\b", re.IGNORECASE
)
GRANTED_AFTER = lazy_pattern(r"[^.;!?\n]{0,40}\b(?:but|however|though|yet)\b", re.IGNORECASE)
NO_DENIAL = lazy_pattern(
    r"\b(?:no|without (?:a |any )?) ?(?:doubt|question)\b|\bnot only\b|(?<![A-Za-z]\) )\bno,(?=\s)",
    re.IGNORECASE,
)

_FILLERS = (
    "so then and well ok okay yes yeah sure it its it's is that that's this i i'd i'll i'm id we we'd my me think "
    "believe guess say would should must could might may be maybe perhaps probably possibly definitely certainly clearly "
    "likely most very surely obviously final finally the a an correct right best better answer answers option options "
    "choice choices letter letters one pick choose select selected go with going for fits fit matches match seems seem "
    "appears here on to of these them only just simply really actually hmm um uh or either both neither nor not "
    "isn't wasn't cannot can't doesn't wrong incorrect false was are were do don't rather than instead over out "
    "more true accurate suitable appropriate makes sense works applies sounds good at all except everything ruled rule "
    "eliminated unlikely give result conclusion done i've ive settled settle have has "
    "confident sure positive convinced certain am pretty quite fairly feel told given everything all considered overall"
)
#: What follows the letter of an entry of a list: "B. Cat".
MARKED_ENTRY = lazy_pattern(r"[)\]]?[.):]")
#: "C best describes the audio": no article can stand there.
DESCRIBES = lazy_pattern(
    r"[)\]\"']*\s+(?:(?:is|seems|appears to be) the (?:best|correct|right|most|closest|only) |would be (?:the|my) )?"
    r"(?:(?:best|better|most (?:accurately|closely|likely)|clearly|correctly|accurately|closely)\s+)?"
    r"(?:describes?|match(?:es)?|fits?|represents?|captures?|reflects?|corresponds|answers?|summari[sz]es|it is|would be my"
    r"|pick|choice|option|match|fit|description)\b",
    re.IGNORECASE,
)
#: Words of a clause that only says which option it is ("so it must be C").
FILLERS = frozenset(_FILLERS.split())
WORD = lazy_pattern(r"[A-Za-z\u00c0-\u024f']+|\d+")
