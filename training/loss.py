"""The loss where tokens have weights: their weighted mean over a whole optimiser step."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def weighted(
    logits: "torch.Tensor",
    labels: "torch.Tensor",
    vocab_size: int,
    num_items_in_batch: "torch.Tensor | None" = None,
    shift_labels: "torch.Tensor | None" = None,
    loss_weights: "torch.Tensor | None" = None,
    **_: Any,  # what other losses of transformers take
) -> "torch.Tensor":
    """Cross-entropy of each token times its weight, summed, over the sum of all weights.

    It takes the place of a model's ``loss_function``, and is its own loss where no weights come.

    Args:
        logits: ``[rows, positions, vocabulary]``.
        labels: ``[rows, positions]``; shifted here, unless ``shift_labels`` are.
        vocab_size: Size of the vocabulary.
        num_items_in_batch: Sum of the weights in the optimiser step; by default that of this call.
        shift_labels: The token that each position is to predict.
        loss_weights: The weight of each label, beside ``labels`` or ``shift_labels``.
    """
    import torch
    from torch.nn.functional import cross_entropy, pad

    from training.packing import IGNORED

    if shift_labels is None:
        shift_labels = pad(labels, (0, 1), value=IGNORED)[..., 1:]
        if loss_weights is not None:
            loss_weights = pad(loss_weights, (0, 1))[..., 1:]
    shift_labels = shift_labels.reshape(-1).to(logits.device)
    each = cross_entropy(
        logits.float().view(-1, vocab_size), shift_labels, ignore_index=IGNORED, reduction="none"
    )
    if loss_weights is None:
        weights = (shift_labels != IGNORED).to(each.dtype)
    else:
        weights = loss_weights.reshape(-1).to(each)
    total = weights.sum() if num_items_in_batch is None else num_items_in_batch
    return (each * weights).sum() / torch.as_tensor(total, device=each.device)
