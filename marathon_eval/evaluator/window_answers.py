"""Combines the answers about a long clip's windows into the row's response, as `long_audio` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from marathon_eval.api.model import Request, Response, Usage
from marathon_eval.api.same_failures import never_sent
from marathon_eval.evaluator.split import Split
from marathon_eval.scoring.reasoning import parted

#: What the model answers from, once it has taken notes on each window.
_NOTES = "Notes on the parts of a recording, in order:\n\n{notes}\n\n{question}"
_SUMMED = (
    *("heard_seconds", "audio_tokens", "kept_tokens", "input_tokens", "output_tokens"),
    *("encode_s", "prefill_s", "decode_s"),
)
_LARGEST = ("peak_bytes", "kv_bytes")
#: Statuses of a window's response with which its text counts.
ANSWERED = ("ok", "unverified")


def combine_answers(
    splits: Mapping[Request, Split],
    responses: MutableMapping[Request, Response],
    cached: set[Request],
    kept: Callable[[], Collection[Request]],
    ask: Callable[[list[Request]], None],
) -> None:
    """Replace the windows' responses by one for each request that was split, and keep those of the requests that `kept` gives.

    `ask` adds the responses to further requests, which map_reduce makes of the notes. A request of which a window has no
    response (after Ctrl-C) gets none. `cached` names the requests whose response came from the cache.
    """
    finals = {
        request: notes_request(request, split, [responses[part].text for part in split.parts])
        for request, split in splits.items()
        if split.windows.combine == "map_reduce" and _all_answered(split, responses)
    }
    if finals:
        ask(list(dict.fromkeys(finals.values())))
    combined: dict[Request, Response] = {}
    used: set[Request] = set()
    for request, split in splits.items():
        sources = [*split.parts, *([finals[request]] if request in finals else [])]
        used.update(sources)
        if all(source in responses for source in sources):
            combined[request] = _combined(request, split, [responses[source] for source in sources])
            if all(source in cached for source in sources):
                cached.add(request)
    for source in used - set(kept()) if used else ():
        responses.pop(source, None)
        cached.discard(source)
    responses.update(combined)


def _all_answered(split: Split, responses: Mapping[Request, Response]) -> bool:
    return all(part in responses and responses[part].status in ANSWERED for part in split.parts)


def notes_request(request: Request, split: Split, texts: Sequence[str]) -> Request:
    """Return the request that asks a row's question about the notes on its windows, without audio."""
    notes = [
        f"Part {place + 1} ({_clock(start)} to {_clock(stop)}): {text.strip()}"
        for place, (text, (start, stop)) in enumerate(zip(texts, split.spans, strict=True))
    ]
    question = request.without_audio()
    prompt = _NOTES.format(notes="\n".join(notes), question=question.prompt)
    return replace(question, prompt=prompt)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _combined(request: Request, split: Split, sources: Sequence[Response]) -> Response:
    """Combine the windows' responses, followed by the answer from their notes if the model was asked for one."""
    parts = sources[: len(split.parts)]
    usage = _usage(request, split, sources)
    if all(map(never_sent, parts)):  # no window's failure: the row was not asked
        return replace(parts[0], usage=usage)
    for place, part in enumerate(parts):
        if part.status not in ANSWERED:
            return replace(
                part, text="", error=f"{split.named(place)}: {part.error or part.status}", usage=usage
            )
    if len(sources) > len(parts):
        return replace(sources[-1], status=_status([*parts, sources[-1]]), usage=usage)
    ended = "length" if any(part.finish_reason == "length" for part in parts) else parts[-1].finish_reason
    if split.windows.combine == "join":
        return Response(_joined([part.text for part in parts]), ended, _status(parts), usage=usage)
    answers = [split.read(part.text) for part in parts]
    chosen = parts[_chosen(answers, split.windows.combine)]
    details = {**usage.details, "window_answers": answers}
    return replace(chosen, status=_status(parts), usage=replace(usage, details=details))


def _joined(texts: Sequence[str]) -> str:
    """Return the windows' texts without their thoughts, joined by spaces.

    A closing mark would make a thought of all windows before it. Where a window never ends its thought, its text stands
    alone, so that the row is unanswered.
    """
    answers: list[str] = []
    for text in texts:
        answer = parted(text).answer
        if answer is None:
            return text
        answers.append(answer)
    return " ".join(answer for answer in answers if answer)


def _chosen(answers: Sequence[str | None], combine: str) -> int:
    """Return the place of the window whose text stands for the row; the last if none has an answer."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return len(answers) - 1
    if combine == "last":
        return max(place for place, answer in enumerate(answers) if answer is not None)
    # of equally frequent answers, Counter has the one first that was given first
    return answers.index(counts.most_common(1)[0][0])


def _status(parts: Sequence[Response]) -> Any:
    """Return `unverified` if it is unverified for any window that it was heard whole."""
    return next((part.status for part in parts if part.status != "ok"), "ok")


def _prompts(request: Request, split: Split) -> dict[str, list[str]]:
    """Return what each window was asked, where that is not the row's own prompt."""
    prompts = [part.prompt for part in split.parts]
    return {} if set(prompts) == {request.prompt} else {"window_prompts": prompts}


def _usage(request: Request, split: Split, sources: Sequence[Response]) -> Usage:
    """Return the sums of counts and seconds (an overlap counts twice), and the largest memory."""

    def known(name: str) -> list[Any]:
        return [value for part in sources if (value := getattr(part.usage, name)) is not None]

    sessions = {part.usage.details.get("session") for part in sources}
    session = next(iter(sessions)) if len(sessions) == 1 else None
    return Usage(
        **{name: sum(values) for name in _SUMMED if (values := known(name))},
        **{name: max(values) for name in _LARGEST if (values := known(name))},
        details={
            "windows": len(split.parts),
            "combine": split.windows.combine,
            "window_responses": [part.text for part in sources[: len(split.parts)]],
            "window_spans": [list(span) for span in split.spans],
            **_prompts(request, split),
            **({} if session is None else {"session": session}),
        },
    )
