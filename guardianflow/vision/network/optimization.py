"""The optimizer: Muon for new convolutions, AdamW for everything else, each with its own rate.

Muon (Jordan et al., 2024) makes a step equally long in all directions of a matrix, also in those
that gradients seldom have. With few epochs this learns more from the same photographs, for about a
tenth of a step's time (docs/decisions/0016).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network.detector import Architecture, Detector, Head

_MOMENTUM = 0.95
# Coefficients of the quintic iteration (Jordan et al.): five rounds bring the singular values
# between 0.7 and 1.2, which is close enough to 1.
_ROUNDS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
_BETAS = (0.9, 0.999)
_EPS = 1e-8


class MuonAdamW(Optimizer):
    """Muon and AdamW in one optimizer, so that a gradient that is not finite skips both.

    Args:
        matrices: Parameters for Muon, with two or more dimensions; all but the first are flattened.
        others: Parameters for AdamW, without weight decay.
        matrix_rate: Learning rate of Muon: how much a square matrix changes in every direction.
        rate: Learning rate of AdamW.
        weight_decay: Weight decay of the matrices.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        matrix_rate: float,
        rate: float,
        weight_decay: float,
    ) -> None:
        groups = [
            {"params": list(matrices), "lr": matrix_rate, "decay": weight_decay, "muon": True},
            {"params": list(others), "lr": rate, "decay": 0.0, "muon": False},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update the weights that have a gradient.

        Raises:
            ValueError: There is a closure, which is not supported.
        """
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure")
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["muon"]:
                self._orthogonal_step(parameters, group["lr"], group["decay"])
            else:
                self._adaptive_step(parameters, group["lr"])

    def _orthogonal_step(
        self, parameters: Sequence[nn.Parameter], rate: float, decay: float
    ) -> None:
        # Matrices of one shape are processed together: a small network has many small ones.
        alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
        for parameter in parameters:
            direction = self._direction(parameter).flatten(1)
            alike.setdefault(direction.shape, []).append((parameter, direction))
        for shape, pairs in alike.items():
            steps = orthogonalize(torch.stack([direction for _, direction in pairs]))
            # A tall matrix has fewer directions than rows: scale so that its rows move as far.
            length = rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for (parameter, _), step in zip(pairs, steps, strict=True):
                parameter.mul_(1 - rate * decay)
                parameter.add_(step.reshape(parameter.shape), alpha=-length)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov's momentum."""
        gradient, state = cast("Tensor", parameter.grad), self._state(parameter)
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(momentum, _MOMENTUM)

    def _adaptive_step(self, parameters: Sequence[nn.Parameter], rate: float) -> None:
        states = [self._state(one) for one in parameters]
        for one, state in zip(parameters, states, strict=True):
            if not state:
                state["mean"], state["square"] = torch.zeros_like(one), torch.zeros_like(one)
                state["steps"] = torch.zeros((), device=one.device)
        adamw(
            list[Tensor](parameters),
            [cast("Tensor", one.grad) for one in parameters],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["steps"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=rate,
            weight_decay=0.0,
            eps=_EPS,
            maximize=False,
        )

    def _state(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """The optimizer's state of a weight; empty before its first step."""
        return cast("dict[str, Any]", self.state[parameter])


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices close to 1, shape (N, rows, columns)."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalize(matrices.mT).mT
    a, b, c = _QUINTIC
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + _EPS)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


def make_optimizer(detector: Detector, settings: TrainingSettings) -> MuonAdamW:
    """Make the optimizer of a detector; its groups have their peak rate as `initial_lr`.

    AdamW updates normalisation, biases and the last layers of the heads. A network that begins with
    trained weights has no others to unlearn: there AdamW updates all, at a lower rate below the
    last layers (docs/decisions/0039).
    """
    last = {
        id(parameter)
        for head in cast("Iterable[Head]", detector.heads)
        for layer in (head.distances, head.logits)
        for parameter in layer.parameters()
    }
    trained = [
        p
        for p in detector.parameters()
        if detector.shape.architecture is not Architecture.CSP and id(p) not in last
    ]
    begun = {id(p) for p in trained}
    # A checkpoint knows them by their order.
    new = [p for p in detector.parameters() if id(p) not in begun]
    optimizer = MuonAdamW(
        [p for p in new if p.ndim > 1 and id(p) not in last],
        [p for p in new if p.ndim <= 1 or id(p) in last],
        matrix_rate=settings.matrix_rate,
        rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    if trained:
        group = {"params": trained, "lr": settings.pretrained_rate, "decay": 0.0, "muon": False}
        optimizer.add_param_group(group)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer
