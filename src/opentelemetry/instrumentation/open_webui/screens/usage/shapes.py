"""The shapes of the usage API's answers, which its OpenAPI document is made of."""

from __future__ import annotations

from typing_extensions import TypedDict

from .amounts import Amounts


class PeriodTold(TypedDict):
    """The days that an answer is of: the first, the last, and their time zone."""

    first: str
    last: str
    zone: str


class Told(TypedDict):
    """What an answer is of."""

    period: PeriodTold
    source: str


class Share(TypedDict):
    """What was used of a model in a part of a chart."""

    model: str
    requests: int
    tokens: int
    cost_usd: str | None


class Moment(Amounts):
    """A part of a chart, by the day or the hour that it begins with."""

    begin: str
    models: list[Share] | None


class OfModel(Amounts):
    """What was used of a model that was picked in Open WebUI."""

    model: str


class OfModelAndUsers(OfModel):
    """The same, and how many users that model has."""

    users: int


class OfUser(Amounts):
    """What a user used."""

    user_id: str
    user: str | None
    email: str | None


class OfGroup(Amounts):
    """What the members of a group used while they were in it. Not to be added up."""

    group: str


class OfSource(Amounts):
    """What was used from somewhere."""

    source: str


class Overview(Told):
    """Totals, and what they are made of."""

    every: str
    total: Amounts
    sources: list[OfSource]
    models: list[OfModel]
    data: list[Moment]


class You(TypedDict):
    """Who asks, and what the page may show."""

    user_id: str
    user: str
    is_admin: bool
    leaderboard: str
    began: float | None


class Mine(Overview):
    """The same of who asks."""

    you: You


class Summary(Overview):
    """The same of everybody."""

    users: int


class Users(Told):
    """Users, a page of them."""

    total: int
    data: list[OfUser]
    next: str | None


class Groups(Told):
    """Groups, a page of them."""

    total: int
    data: list[OfGroup]
    next: str | None


class Models(Told):
    """Models, a page of them."""

    total: int
    data: list[OfModelAndUsers]
    next: str | None


class OfCall(TypedDict):
    """One call."""

    id: str
    parent_id: str | None
    time: str
    user_id: str
    user: str | None
    groups: list[str]
    source: str
    auth: str
    route: str | None
    task: str
    operation: str
    provider: str
    model: str
    provider_model: str
    chat_id: str | None
    tokens: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    input_estimated: bool
    output_estimated: bool
    units: dict[str, float]
    cost_usd: str | None
    price_source: str | None
    unpriced: bool
    seconds: float
    seconds_to_first_chunk: float | None
    error: str | None
    imported: bool


class Calls(Told):
    """Calls, newest first, a page of them."""

    data: list[OfCall]
    next: str | None


class Ranked(TypedDict):
    """A place of the leaderboard."""

    rank: int
    user: str | None
    is_you: bool
    requests: int
    messages: int
    tokens: int


class Leaderboard(Told):
    """Who used the most, as far as they wish to be on it."""

    mode: str
    you_are_shown: bool
    data: list[Ranked]


class Unpriced(TypedDict):
    """A model whose price is not known, and what was used of it."""

    provider: str
    provider_model: str
    unpriced_requests: int
    input_tokens: int
    output_tokens: int


class Chargeback(Told):
    """What each group is charged; the groups add up to the total, to the nano-dollar."""

    charge: str
    total: Amounts
    unpriced: list[Unpriced]
    data: list[OfGroup]
