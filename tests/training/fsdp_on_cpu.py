"""FSDP between processes without GPUs, where accelerate leaves it out without a word.

``python -m tests.training.fsdp_on_cpu ...`` is ``python -m training.sft ...`` with it.
"""

from typing import Any


def allow() -> None:
    """Let ``Trainer`` spread weights over processes that talk over gloo; before it is made."""
    from accelerate import state
    from accelerate.utils import DistributedType

    begin = state.AcceleratorState.__init__

    def with_plugin(self: Any, *args: Any, fsdp_plugin: Any = None, **more: Any) -> None:
        begin(self, *args, fsdp_plugin=fsdp_plugin, **more)
        if fsdp_plugin is not None:  # accelerate 1.15 heeds it on accelerators only
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = with_plugin


def require_spread(model: Any) -> None:
    """Make sure that weights are spread indeed."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        raise AssertionError("the weights are not spread over the processes")


if __name__ == "__main__":
    from training import samples, sft
    from ultra import command

    allow()
    answer = samples.answer

    def answered(trainer: Any, prompt: str) -> str:
        require_spread(trainer.model)
        return answer(trainer, prompt)

    samples.answer = answered
    command.main(sft.Settings, sft.train, sft.RECIPES)
