"""Answers to fixed prompts while a model is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra import jsonl
from ultra.errors import SettingError
from ultra.local_chat import positions

if TYPE_CHECKING:
    from transformers import TrainerCallback

SAMPLES = "samples.jsonl"
LENGTH = 128
"""Tokens that a sample has at most."""


def callback(trainer: Any, prompts: list[str]) -> "TrainerCallback":
    """Answers all prompts greedily after each evaluation, or each epoch if there is none.

    Raises:
        SettingError: a prompt cannot be put to the model.
    """
    from transformers import TrainerCallback

    for prompt in prompts:
        _asked(trainer, prompt)

    class Samples(TrainerCallback):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            self.write(args, state)

        def on_epoch_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            if args.eval_strategy == "no":
                self.write(args, state)

        def write(self, args: Any, state: Any) -> None:
            """Add this step's answers; a step that is run again after a kill replaces its own.

            All processes answer, since weights may be spread over them; the first one writes.
            """
            answers = [answer(trainer, prompt) for prompt in prompts]
            if not state.is_world_process_zero:
                return
            place = Path(args.output_dir, SAMPLES)
            before = list(jsonl.read(place)) if place.exists() else []
            rows = [one for one in before if one["step"] < state.global_step]
            for prompt, text in zip(prompts, answers, strict=True):
                rows.append({"step": state.global_step, "prompt": prompt, "answer": text})
            jsonl.write(place, rows)

    return Samples()


def answer(trainer: Any, prompt: str) -> str:
    """The model's greedy answer to one message; dropout off, no random numbers drawn."""
    import torch

    model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
    ids, room = _asked(trainer, prompt)
    model.eval()  # the next step of training makes it learn again
    with torch.no_grad():
        output = model.generate(
            input_ids=torch.tensor([ids], device=model.device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=model.device),
            max_new_tokens=room,
            do_sample=False,
            use_cache=True,
        )
    return str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)).strip()


def _asked(trainer: Any, prompt: str) -> tuple[list[int], int]:
    """The ids after which the model is to answer, and how many it may add to them."""
    from jinja2 import TemplateError

    from training.conversations import Dialogue
    from training.encoding import Encoder

    dialogue = Dialogue([{"role": "user", "content": prompt}], [None])
    try:
        ids = Encoder(trainer.processing_class).prompt(dialogue)
    except TemplateError as error:
        raise SettingError(f"samples: the chat template refuses {prompt!r} ({error})") from error
    if ids is None:
        raise SettingError(f"samples: the chat template rewords {prompt!r}")
    room = (positions(trainer.model.config) or 2**20) - len(ids)
    if room < 1:
        raise SettingError(
            f"samples: {prompt[:60]!r} has {len(ids)} tokens, which leave no room for an answer"
        )
    return ids, min(room, LENGTH)
