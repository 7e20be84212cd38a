"""Sends requests to a model so that each gets exactly one response, whatever the model's code does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from operator import attrgetter

from marathon_eval.api.model import Model
from marathon_eval.api.request import NO_DETAILS, Request, Response, Usage
from marathon_eval.api.same_failures import SameFailures
from marathon_eval.api.secrets import environment_keys, without_keys, without_values
from marathon_eval.errors import MarathonError
from marathon_eval.files import canonical_json, too_deep

_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "details")
_counts_of = attrgetter(*_COUNTS)


def complete(
    model: Model, requests: Sequence[Request], failures: SameFailures | None = None
) -> Iterator[tuple[Request, Response]]:
    """Run `model.generate` and yield exactly one response per request, even where the adapter raises or skips some.

    After an exception the first request without a response is sent alone. If it raises too, it fails and the others go
    on; else they are sent in halves, until the request that raises is alone. Raises MarathonError after ten failures in
    a row with the same reason, and re-raises a MarathonError of the model (weights missing). `failures` is the count of
    those before, where a model is sent its requests in several calls.
    """
    groups, alone = [list(dict.fromkeys(requests))], False
    failures = failures or SameFailures.of(model)
    secrets = model.secrets()
    while groups:
        waiting, raised = dict.fromkeys(groups.pop()), False
        reason = "the model gave no answer to this request"
        try:
            for request, response in model.generate(list(waiting)):
                if request in waiting:
                    # before the request is taken off: it must get a response also if this fails
                    shown = without_secrets_of(_checked(response), secrets)
                    del waiting[request]
                    yield request, shown
                    failures.note(shown.error if shown.status == "error" else None)
        except MarathonError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad sample must not fail the others
            raised = True
            reason = without_keys(without_values(f"{type(error).__name__}: {error}", secrets))
        left = list(waiting)
        if raised and len(left) > 1:
            groups += [left[1:], left[:1]]
            alone = True
            continue
        if left:
            yield left[0], Response.failed(reason)
            failures.note(reason)
            groups += [left[1:]] if len(left) > 1 else []
        elif alone:
            groups += _halves(groups.pop())
        alone = False


def _halves(requests: list[Request]) -> list[list[Request]]:
    """Return a group in two halves, the first one last; a group of one as it is."""
    middle = len(requests) // 2
    return [requests[middle:], requests[:middle]] if middle else [requests]


def _checked(response: Response) -> Response:
    """Return the response, or a failed one where the model's code put into it what no cache entry can hold."""
    fault = _fault(response)
    return response if fault is None else Response.failed(f"the model's code gave {fault}")


def _fault(response: Response) -> str | None:
    if not isinstance(response, Response):
        return f"{type(response).__name__} as response: must be a Response"
    if not isinstance(response.text, str):
        return f"{type(response.text).__name__} as text: must be str"
    if not isinstance(response.finish_reason, str) or not isinstance(response.error, str | None):
        return "a response whose finish_reason or error is no str"
    for name, count in zip(_COUNTS, _counts_of(response.usage), strict=True):
        if count is not None and not isinstance(count, int | float):
            return f"{type(count).__name__} as {name} of its usage: must be int or float"
    if response.usage.details is not NO_DETAILS:
        try:
            canonical_json(response.usage.details)
        except (TypeError, ValueError) as error:
            return f"details of its usage that JSON cannot hold ({error})"
        except RecursionError:
            return f"a response that JSON cannot hold ({too_deep({'usage.details': response.usage.details})})"
    return None


def without_secrets_of(response: Response, secrets: Sequence[str]) -> Response:
    """Return a response without the model's secrets, which a server may echo in its answer, its error or its details."""
    if response.error is None and not response.usage.details and not secrets:
        return response
    error = response.error and without_keys(without_values(response.error, secrets))
    details = without_values(response.usage.details, [*secrets, *environment_keys()])
    return replace(
        response,
        text=without_values(response.text, secrets),
        finish_reason=without_values(response.finish_reason, secrets),
        error=error,
        usage=response.usage
        if details == response.usage.details
        else replace(response.usage, details=details),
    )
