"""All dialogues of a build: their plans, one by one, and the work of holding them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from datasets_scripts.ultrachat.dialogue import Cast, Dialogue, Failed, simulate
from datasets_scripts.ultrachat.openings.opening import Opening
from datasets_scripts.ultrachat.plan import Plan, plan
from datasets_scripts.ultrachat.rows import Recipe, dialogue_id
from ultra.command import printable
from ultra.engine import Session

Take = Callable[[Plan, Dialogue | Failed], None]


@dataclass(frozen=True)
class Plans:
    """The plans of the dialogues with these ``numbers``, made as they are asked for.

    Dialogue i begins with opening i modulo their number. ``read`` begins to read the openings, and
    is called again each time they have all been used, so that none is kept.
    """

    read: Callable[[], Iterable[Opening]]
    recipe: Recipe
    numbers: range
    rounds: tuple[int, int] | None
    """Fewest and most; None are those of each sector."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Plan]:
        if not self.numbers:
            return
        for number, opening in enumerate(_around(self.read)):
            if number in self.numbers:
                yield plan(self.recipe.version, self.recipe.seed, number, opening, self.rounds)
            if number == self.numbers[-1]:
                return


def _around(read: Callable[[], Iterable[Opening]]) -> Iterator[Opening]:
    while True:
        yield from read()


async def hold(talks: Session, plans: Plans, cast: Cast, take: Take) -> None:
    """Hold the planned dialogues, many at a time; ``take`` gets each as it ends, in any order.

    Raises:
        ModelError: an endpoint refuses us; finished calls are in the journal.
        BudgetError: the next call could pass the budget; likewise.
    """

    async def work(one: Plan) -> None:
        take(one, await simulate(one, cast))

    await talks.for_each(plans, work, len(plans), "dialogues", size=lambda one: one.rounds)


async def preview(talks: Session, plans: Plans, cast: Cast) -> None:
    """Hold some dialogues and print them, as they would be in the release or why they would not."""
    held: dict[int, str] = {}

    def take(one: Plan, result: Dialogue | Failed) -> None:
        held[one.index] = _shown(one, result)

    await hold(talks, plans, cast, take)
    for _, text in sorted(held.items()):
        print(text)
    print("\nthat was a preview; run again without --preview to go on from there")


def _shown(one: Plan, result: Dialogue | Failed) -> str:
    """A dialogue for a terminal, which no text in it can command."""
    head = f"\n=== {dialogue_id(one)}  {one.opening.topic}  ({one.persona}; {one.register})"
    if isinstance(result, Failed):
        told = [f"dropped: {result.reason} ({result.detail})"]
    else:
        told = [f"--- {turn['role']}\n{turn['content']}" for turn in result.messages]
        told.append(f"--- {result.rounds} of {one.rounds} rounds, {result.finish}")
    lines = "\n".join([head, *told]).split("\n")
    return "\n".join(map(printable, lines))
