"""Defines a turn of `doc_to_messages`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marathon_eval.task.yaml.data_config import Keys


class Message(Keys):
    """Describes one turn of a dialogue. A turn of the user is asked unless an `assistant` turn follows it."""

    role: Literal["user", "assistant"] = Field(
        "user", description="user: a question; assistant: what stands in the chat as the answer to it"
    )
    content: str = Field(
        description="a column or template, with <audio> where a clip stands; `answers` holds the answers so far"
    )
